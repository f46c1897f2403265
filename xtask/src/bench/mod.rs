//! `cargo xtask bench`: measurements, each compared with something in the same run.

pub mod edge;
pub mod freshness;
mod load;
pub mod memory;
pub mod origin;
mod report;
mod stack;
