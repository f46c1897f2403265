//! The account API, through the real router, as licet_app.

mod access;
mod account;
mod audit;
mod audit_events;
mod auth;
mod conventions;
mod credentials;
mod documentation;
mod erasure;
mod export;
mod feature_sets;
mod people;
mod policies;
mod products;
mod projects;
mod shared;
