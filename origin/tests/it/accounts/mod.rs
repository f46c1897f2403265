//! The account API, through the real router, as licet_app.

mod audit;
mod products;
