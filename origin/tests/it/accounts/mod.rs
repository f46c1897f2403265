//! The account API, through the real router, as licet_app.

mod audit;
mod feature_sets;
mod policies;
mod products;
mod projects;
mod shared;
