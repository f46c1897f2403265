//! The origin against a real Postgres: one program, so that all tests share one cluster.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test reports by failing"
)]
#![allow(unreachable_pub, reason = "a program of its own")]

mod accounts;
mod activation;
mod catalogue;
mod commands;
mod documents;
mod edge_auth;
mod feed;
mod generate;
mod idempotency;
mod isolation;
mod issuing;
mod jobs;
mod leases;
mod license_terms;
mod licenses;
mod limits;
mod load;
mod meters;
mod migrations;
mod neighbours;
mod offline;
mod pages;
mod pgbouncer;
mod pkcs11;
mod plans;
mod process;
mod restore;
mod round_trips;
mod signing_keys;
mod startup;
mod status;
mod support;
mod terms;
mod tls;
mod walk;
