#![doc = include_str!("../README.md")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test harness reports by failing the test that uses it"
)]

pub mod cable;
pub mod device;
pub mod dice;
pub mod edge_caller;
pub mod fake_origin;
pub mod forge;
pub mod http;
pub mod license;
mod listener;
pub mod load;
pub mod logs;
pub mod lone_edge;
pub mod parts;
pub mod persisted;
pub mod relay;
pub mod resident;
pub mod schema;
pub mod scratch;
pub mod signal;
pub mod sql;
pub mod stack;
pub mod wait;

pub use device::{Activation, Device};
pub use edge_caller::EdgeCaller;
pub use http::{Answer, Request};
pub use license::License;
pub use lone_edge::LoneEdge;
pub use stack::{Database, Stack, StackOptions};
pub use wait::{eventually, now};
