//! One endpoint per module: what it takes, what it answers.

pub(crate) mod activate;
pub(crate) mod activate_offline;
pub(crate) mod checkout;
pub(crate) mod consume;
pub(crate) mod deactivate;
pub(crate) mod deactivate_offline;
pub(crate) mod features;
pub(crate) mod health;
pub(crate) mod leases;
pub(crate) mod openapi;
pub(crate) mod orgs;
pub(crate) mod problems;
pub(crate) mod refresh;
pub(crate) mod scrape;
#[cfg(test)]
mod tests;
pub(crate) mod validate;
