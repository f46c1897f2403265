//! End-to-end tests on the real parts, one theme per file. `cargo xtask test` runs them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test reports by failing"
)]

mod again;
mod bad_bodies;
mod bad_input;
mod ballast;
mod contract;
mod crash;
mod crowd;
mod documents;
mod edge_auth;
mod edge_calls;
mod faults;
mod footprint;
mod keys;
mod lifecycle;
mod logs;
mod meters;
mod native_ed25519;
mod offline;
mod openapi;
mod outage;
mod overrides;
mod races;
mod readme;
mod refusals;
mod renewal;
mod revocation;
mod seats;
mod soak;
mod surface;
mod tampering;
mod tenants;
mod terms;
mod tokens;
mod watch;
