#![doc = include_str!("../README.md")]

pub mod bench;
pub mod commands;
pub mod edge;
pub mod interrupt;
pub mod lock;
pub mod net;
pub mod origin;
pub mod paths;
pub mod postgres;
pub mod process;
pub mod step;
pub mod tools;
pub mod wrangler;

pub use step::step;
