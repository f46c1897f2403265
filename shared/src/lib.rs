#![doc = include_str!("../README.md")]

pub mod api;
mod base64url;
pub mod components;
mod crockford;
pub mod decision;
pub mod documents;
pub mod id;
pub mod jws;
pub mod license_file;
pub mod license_key;
pub mod problem;
pub mod status_list;
pub mod time;

pub use crockford::SymbolError;
