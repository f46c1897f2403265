#![doc = include_str!("../README.md")]

pub mod accounts;
pub mod api;
pub mod buckets;
pub mod cli;
pub mod clock;
pub mod config;
pub mod db;
pub mod documents;
mod edge_api;
pub mod export;
pub mod fault;
mod generate;
pub mod http;
pub mod jobs;
pub mod keys;
mod licensing;
pub mod metrics;
pub mod migrations;
mod pages;
pub mod postgres;
pub mod random;
mod rejection;
