//! The account API, through the real router, as licet_app.

mod products;
