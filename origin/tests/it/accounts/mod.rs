//! The account API, through the real router, as licet_app.

mod access;
mod audit;
mod auth;
mod conventions;
mod people;
mod feature_sets;
mod policies;
mod products;
mod projects;
mod shared;
