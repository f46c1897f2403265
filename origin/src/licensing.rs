//! What is done with licenses, between the HTTP API or an operator above and the tables below.

pub(crate) mod activate;
mod answer;
mod begin;
pub(crate) mod change_status;
pub(crate) mod consume;
pub(crate) mod deactivate;
pub(crate) mod demo;
pub(crate) mod found;
pub(crate) mod issue;
pub(crate) mod leases;
pub(crate) mod license_file;
pub(crate) mod offline;
pub(crate) mod refresh;
pub(crate) mod republish;
pub(crate) mod terms;
mod token;
pub(crate) mod token_size;

pub(crate) use token::verify_token;

use licet_shared::{decision::Code, time::Timestamp};

use crate::db::{grants::Grant, licenses::LicenseStatus};

/// Who asked, for the audit trail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    /// An edge's `kid`, or an operator.
    pub(crate) actor: &'a str,
    pub(crate) request_id: Option<&'a str>,
}

/// Why a license may not be used at all, if so, in the order of the decision's codes.
/// `given_back` is about the activation that asks, where there is one.
fn objection(grant: &Grant, given_back: bool, now: Timestamp) -> Option<Code> {
    match grant.status {
        LicenseStatus::Revoked => Some(Code::Revoked),
        LicenseStatus::Suspended => Some(Code::Suspended),
        _ if given_back => Some(Code::Deactivated),
        // Whether or not its row says so yet.
        LicenseStatus::Expired | LicenseStatus::Active => {
            grant.is_over(now).then_some(Code::LicenseExpired)
        }
    }
}
