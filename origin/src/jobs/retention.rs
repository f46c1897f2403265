//! What is kept for how long. [`RULES`] and [`KEPT`] together name every table of tenants;
//! `docs/ACCOUNTS.md` shows them, and the policies of `licet_system` hold it to the same periods.

use futures_util::future::try_join_all;
use licet_shared::id::OrgId;
use serde_json::json;
use tokio_postgres::types::Type;

use super::{ORIGIN, Report};
use crate::db::{Error, SystemDatabase, Tx, audit, users};

/// Organizations looked up at once.
const ORGANIZATIONS: i64 = 500;
/// Rows that one rule touches in one transaction.
const BATCH: i64 = 500;
/// People erased in one transaction.
const PEOPLE: i64 = 20;

const DAY_S: u32 = 86_400;

/// What becomes of a table's rows after a while.
#[derive(Debug)]
pub struct Rule {
    /// The table.
    pub table: &'static str,
    /// The name in metrics and reports.
    pub job: &'static str,
    /// For how many days after what.
    pub days: u32,
    /// From when on the days count.
    pub after: &'static str,
    /// What then happens.
    pub then: &'static str,
    /// Does it for `$2` rows of the organization `$1` that are so for `$3` seconds; none where it
    /// takes more than one statement.
    sql: Option<&'static str>,
}

impl Rule {
    fn seconds(&self) -> f64 {
        f64::from(self.days * DAY_S)
    }
}

const PEOPLE_RULE: Rule = Rule {
    table: "users",
    job: "people_erased",
    days: 30,
    after: "removal",
    then: "erased: e-mail, name, password and what names them in the audit trail",
    sql: None,
};

/// Everything that goes.
pub const RULES: &[Rule] = &[
    Rule {
        table: "idempotency_keys",
        job: "idempotency_keys_deleted",
        days: 1,
        after: "the request",
        then: "deleted",
        sql: Some(
            "DELETE FROM licet.idempotency_keys WHERE org_id = $1 AND key = ANY (ARRAY(
                 SELECT o.key FROM licet.idempotency_keys o
                 WHERE o.org_id = $1 AND o.created_at < now() - make_interval(secs => $3)
                 ORDER BY o.created_at LIMIT $2))",
        ),
    },
    Rule {
        table: "sessions",
        job: "sessions_deleted",
        days: 30,
        after: "the session's end",
        then: "deleted",
        sql: Some(
            "DELETE FROM licet.sessions WHERE org_id = $1 AND id = ANY (ARRAY(
                 SELECT o.id FROM licet.sessions o WHERE o.org_id = $1
                     AND coalesce(o.ended_at, least(o.expires_at, o.ends_at)) < now() - make_interval(secs => $3)
                 LIMIT $2))",
        ),
    },
    Rule {
        table: "invitations",
        job: "invitations_deleted",
        days: 30,
        after: "answer, withdrawal or end",
        then: "deleted",
        sql: Some(
            "DELETE FROM licet.invitations WHERE org_id = $1 AND id = ANY (ARRAY(
                 SELECT o.id FROM licet.invitations o WHERE o.org_id = $1
                     AND coalesce(o.accepted_at, o.revoked_at, o.expires_at) < now() - make_interval(secs => $3)
                 LIMIT $2))",
        ),
    },
    Rule {
        table: "activations",
        job: "activations_emptied",
        days: 30,
        after: "deactivation",
        then: "the device's name and metadata deleted; the row stays, as its entry in a status list does",
        sql: Some(
            "UPDATE licet.activations SET name = NULL, metadata = NULL WHERE org_id = $1 AND id = ANY (ARRAY(
                 SELECT o.id FROM licet.activations o WHERE o.org_id = $1
                     AND o.deactivated_at < now() - make_interval(secs => $3)
                     AND o.deactivated_at IS NOT NULL AND (o.name IS NOT NULL OR o.metadata IS NOT NULL)
                 ORDER BY o.deactivated_at LIMIT $2))",
        ),
    },
    Rule {
        table: "leases",
        job: "leases_deleted",
        days: 7,
        after: "the lease's end",
        then: "deleted, with what its holder called themselves",
        sql: Some(
            "DELETE FROM licet.leases WHERE org_id = $1 AND id = ANY (ARRAY(
                 (SELECT o.id FROM licet.leases o
                  WHERE o.org_id = $1 AND o.ended_at < now() - make_interval(secs => $3)
                  ORDER BY o.ended_at LIMIT $2)
                 UNION ALL
                 (SELECT o.id FROM licet.leases o WHERE o.org_id = $1 AND o.ended_at IS NULL
                      AND o.expires_at < now() - make_interval(secs => $3)
                  LIMIT $2)))",
        ),
    },
    PEOPLE_RULE,
];

/// Every other table, and why its rows stay.
pub const KEPT: &[(&str, &str)] = &[
    (
        "api_keys",
        "revoked ones too: the audit trail names them, and they name nobody",
    ),
    (
        "audit_events",
        "for good: the chain has no end that could be cut off unnoticed",
    ),
    ("audit_heads", "one row: the end of the chain"),
    ("audit_personal", "until the person is erased"),
    ("feature_set_revisions", "signed copies may be anywhere"),
    (
        "feature_sets",
        "revisions and licenses name them, deleted ones too",
    ),
    (
        "license_changes",
        "until no token from before the change counts: the organization's next changes clear them away",
    ),
    ("license_products", "as their license"),
    ("licenses", "what was sold"),
    ("organizations", "one row"),
    ("policies", "licenses name them, deleted ones too"),
    ("policy_products", "as their policy"),
    ("products", "tokens name them, deleted ones too"),
    ("projects", "deleted ones can be restored"),
    ("signing_keys", "tokens name them"),
    ("status_versions", "entries of a list are never used again"),
    ("trials", "a device has one of each product"),
    ("usage", "what was used, by which vendors bill"),
    (
        "withdrawals",
        "revoked licenses stay so; reinstated ones have none",
    ),
];

pub(super) async fn run(database: &SystemDatabase, report: &mut Report) -> Result<(), Error> {
    for rule in RULES {
        report.add(rule.job, 0);
    }
    let mut after = None;
    loop {
        let organizations = database.organizations(after, ORGANIZATIONS).await?;
        let Some(last) = organizations.last() else {
            return Ok(());
        };
        after = Some(*last);
        for org in organizations {
            clear(database, org, report).await?;
        }
    }
}

/// Clears one organization, batch by batch.
async fn clear(database: &SystemDatabase, org: OrgId, report: &mut Report) -> Result<(), Error> {
    let tenant = database.tenant(org);
    loop {
        let (rows, people) = tenant
            .run_tx("clear_outworn", |tx| {
                Box::pin(async move { Ok((clear_rows(tx).await?, erase_people(tx).await?)) })
            })
            .await?;
        for (job, count) in &rows {
            report.add(job, *count);
        }
        report.add(PEOPLE_RULE.job, people.unsigned_abs());
        let more = |(_, count): &(&str, u64)| *count >= BATCH.unsigned_abs();
        if people < PEOPLE && !rows.iter().any(more) {
            return Ok(());
        }
    }
}

async fn clear_rows(tx: &Tx<'_>) -> Result<Vec<(&'static str, u64)>, Error> {
    let clear = RULES.iter().filter_map(|rule| Some((rule, rule.sql?)));
    let statements = clear.map(|(rule, sql)| async move {
        let count = tx
            .execute(
                sql,
                &[
                    (&tx.org(), Type::UUID),
                    (&BATCH, Type::INT8),
                    (&rule.seconds(), Type::FLOAT8),
                ],
            )
            .await?;
        Ok::<_, Error>((rule.job, count))
    });
    try_join_all(statements).await
}

async fn erase_people(tx: &Tx<'_>) -> Result<i64, Error> {
    let mut erased = 0;
    for user in users::removed_for(tx, PEOPLE_RULE.seconds(), PEOPLE).await? {
        // Somebody may just have erased them by hand.
        if users::erase(tx, user).await? {
            let events = audit::forget(tx, user).await?;
            let event = audit::Event::new(ORIGIN, "user.erased");
            audit::write(tx, &user, &event.details(json!({ "events": events }))).await?;
            erased += 1;
        }
    }
    Ok(erased)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_among_the_rules() {
        assert!(RULES.iter().any(|rule| rule.job == PEOPLE_RULE.job));
        assert!(RULES.iter().all(|rule| rule.days > 0));
    }
}
