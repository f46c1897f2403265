//! HTTP as this Worker needs it: a request read once, an answer written once.

pub(crate) mod answer;
mod body;
pub(crate) mod cors;
pub(crate) mod fault;
mod object;
mod request;

pub(crate) use answer::{Answer, JSON};
pub(crate) use body::{ReadError, read_at_most};
pub(crate) use fault::Fault;
pub(crate) use object::Object;
pub(crate) use request::Incoming;
