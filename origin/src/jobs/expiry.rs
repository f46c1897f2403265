//! Licenses whose end has come.

use std::collections::BTreeMap;

use licet_shared::id::{LicenseId, OrgId};

use super::{ORIGIN, Report};
use crate::{
    db::{Error, SystemDatabase},
    licensing::change_status::expire,
};

/// Licenses looked for at once.
const FOUND: i64 = 1000;
/// Licenses of one transaction: until it ends, nothing else gets into its organization's audit trail.
const BATCH: usize = 100;

pub(super) async fn run(database: &SystemDatabase, report: &mut Report) -> Result<(), Error> {
    report.add("license_expiry", 0);
    loop {
        let due = database.due_licenses(FOUND).await?;
        let all_found = due.len() < usize::try_from(FOUND).unwrap_or(usize::MAX);
        let mut by_org: BTreeMap<OrgId, Vec<LicenseId>> = BTreeMap::new();
        for (org, license) in due {
            by_org.entry(org).or_default().push(license);
        }
        let mut expired = 0;
        for (org, licenses) in &by_org {
            let tenant = database.tenant(*org);
            for batch in licenses.chunks(BATCH) {
                let done =
                    tenant.run_tx("expire_licenses", |tx| Box::pin(expire(tx, batch, ORIGIN)));
                expired += done.await?;
            }
        }
        report.add("license_expiry", expired);
        // Those that somebody holds are found again, and left for the next run.
        if all_found || expired == 0 {
            return Ok(());
        }
    }
}
