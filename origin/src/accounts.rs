//! People and machines that act for an organization: who they are, what they may do, and how
//! they show it.

pub mod access;
pub(crate) mod account;
pub mod credentials;
pub(crate) mod join;
pub mod limits;
pub(crate) mod login;
pub mod passwords;
pub mod permissions;
pub(crate) mod principal;
pub mod secrets;
pub(crate) mod sessions;
