//! `status_versions`, and what the status lists are made from.

use licet_shared::id::{LicenseId, PolicyId};
use tokio_postgres::types::Type;

use super::{
    Error, Tx,
    feed::noting_lists,
    licenses::LicenseStatus,
    organizations::{epoch, next_version, version},
};
use crate::random::RowId;

/// Entries of one list. The next one begins where it ends.
pub(crate) const ENTRIES: u32 = 1 << 17;

/// An activation's place in the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StatusEntry {
    pub(crate) list: u32,
    pub(crate) index: u32,
}

impl StatusEntry {
    pub(super) fn from_columns(list: i32, index: i32) -> Result<Self, Error> {
        let positive =
            |number: i32| u32::try_from(number).map_err(|_| Error::Row("a status entry"));
        Ok(Self {
            list: positive(list)?,
            index: positive(index)?,
        })
    }

    pub(super) fn column(number: u32) -> Result<i32, Error> {
        i32::try_from(number).map_err(|_| Error::Row("a status list's number"))
    }
}

/// Begins an organization's list unless it is there. It may have been there before a restore.
pub(crate) async fn begin(tx: &Tx<'_>, number: u32) -> Result<(), Error> {
    tx.execute(
        concat!(
            "INSERT INTO licet.status_versions (org_id, number, version) VALUES ($1, $2, ",
            next_version!("0"),
            ") ON CONFLICT (org_id, number) DO NOTHING"
        ),
        &[
            (&tx.org(), Type::UUID),
            (&StatusEntry::column(number)?, Type::INT4),
        ],
    )
    .await?;
    Ok(())
}

/// The organization's newest list, how many of its entries are taken, and its version.
pub(crate) async fn newest(tx: &Tx<'_>) -> Result<Option<(StatusEntry, u64)>, Error> {
    let row = tx
        .query_opt(
            "SELECT number, next_index, version FROM licet.status_versions
             WHERE org_id = $1 ORDER BY number DESC LIMIT 1",
            &[(&tx.org(), Type::UUID)],
        )
        .await?;
    row.map(|row| {
        let entry = StatusEntry::from_columns(row.try_get(0)?, row.try_get(1)?)?;
        Ok((entry, version(row.try_get(2)?)?))
    })
    .transpose()
}

/// Takes the next entry of a list for this transaction, which [`super::activations::insert`] then
/// uses. Others wait for the end of the transaction, so this belongs at its end.
pub(crate) async fn advance(tx: &Tx<'_>, number: u32) -> Result<(), Error> {
    tx.execute(
        "UPDATE licet.status_versions SET next_index = next_index + 1
         WHERE org_id = $1 AND number = $2 AND next_index < 131072",
        &[
            (&tx.org(), Type::UUID),
            (&StatusEntry::column(number)?, Type::INT4),
        ],
    )
    .await?;
    Ok(())
}

/// Counts a list's version up, as every change of an entry must in its own transaction.
pub(crate) async fn bump(tx: &Tx<'_>, number: u32) -> Result<(), Error> {
    tx.execute(
        noting_lists!(concat!(
            "UPDATE licet.status_versions SET version = ",
            next_version!("version"),
            " WHERE org_id = $1 AND number = $2"
        )),
        &[
            (&tx.org(), Type::UUID),
            (&StatusEntry::column(number)?, Type::INT4),
        ],
    )
    .await?;
    Ok(())
}

/// Counts the versions of all lists up, and tells how many there are.
pub(crate) async fn raise_versions(tx: &Tx<'_>) -> Result<u64, Error> {
    // Locked in the order of their numbers, as wherever several are.
    tx.execute(
        "SELECT FROM licet.status_versions WHERE org_id = $1 ORDER BY number FOR NO KEY UPDATE",
        &[(&tx.org(), Type::UUID)],
    )
    .await?;
    tx.execute(
        noting_lists!(concat!(
            "UPDATE licet.status_versions SET version = ",
            next_version!("version"),
            ", changed_version = CASE changed_version WHEN 0 THEN 0 ELSE ",
            next_version!("version"),
            " END WHERE org_id = $1"
        )),
        &[(&tx.org(), Type::UUID)],
    )
    .await
}

/// Has all lists that a license has entries in say its new status, and counts their versions up.
/// They are locked in the order of their numbers first, so that two licenses can't wait for each
/// other. No entry is added meanwhile: the license's row is locked.
pub(crate) async fn withdraw(
    tx: &Tx<'_>,
    license: LicenseId,
    status: LicenseStatus,
) -> Result<(), Error> {
    let numbers = lock_lists(tx, license).await?;
    mark(tx, license, status, &numbers).await?;
    tx.execute(
        noting_lists!(concat!(
            "UPDATE licet.status_versions SET version = ",
            next_version!("version"),
            " WHERE org_id = $1 AND number = ANY ($2)"
        )),
        &[(&tx.org(), Type::UUID), (&numbers, Type::INT4_ARRAY)],
    )
    .await?;
    Ok(())
}

/// Locks all lists that a license has entries in, in the order of their numbers.
async fn lock_lists(tx: &Tx<'_>, license: LicenseId) -> Result<Vec<i32>, Error> {
    let lists = tx
        .query(
            "SELECT number FROM licet.status_versions
             WHERE org_id = $1 AND number IN (SELECT a.status_list FROM licet.activations a
                 WHERE a.org_id = $1 AND a.license_id = $2)
             ORDER BY number FOR NO KEY UPDATE",
            &[(&tx.org(), Type::UUID), (&license.uuid(), Type::UUID)],
        )
        .await?;
    let numbers = lists.iter().map(|row| row.try_get(0));
    Ok(numbers.collect::<Result<_, _>>()?)
}

/// Seconds beyond the lives of tokens for which lists say of a license that it has changed.
const MARGIN_S: i64 = 3_600;
/// How many outworn rows a change clears away, at most.
const SWEEP: i64 = 8;

/// Has all lists that a license has entries in say that it has changed, for as long as tokens made
/// before may count; `policies` are those that they may have been made under. The license must be
/// locked, so that no entry is added meanwhile.
pub(crate) async fn mark_changed(
    tx: &Tx<'_>,
    license: LicenseId,
    policies: [PolicyId; 2],
) -> Result<(), Error> {
    let numbers = lock_lists(tx, license).await?;
    if numbers.is_empty() {
        return Ok(());
    }
    let (org, license_id) = (tx.org(), license.uuid());
    let policies = policies.map(RowId::uuid).to_vec();
    tx.execute(
        "DELETE FROM licet.license_changes WHERE org_id = $1 AND (status_list, license_id) IN (
             SELECT o.status_list, o.license_id FROM licet.license_changes o
             WHERE o.org_id = $1 AND o.until < now()
             ORDER BY o.until LIMIT $2 FOR UPDATE SKIP LOCKED)",
        &[(&org, Type::UUID), (&SWEEP, Type::INT8)],
    )
    .await?;
    tx.execute(
        "INSERT INTO licet.license_changes AS c (org_id, status_list, license_id, until)
         SELECT s.org_id, s.number, $2, now() + make_interval(secs => $5 + (
             SELECT max(greatest(p.token_reach_s, p.token_lifetime_s + p.grace_s))::int8
             FROM licet.policies p WHERE p.org_id = $1 AND p.id = ANY ($4)))
         FROM licet.status_versions s WHERE s.org_id = $1 AND s.number = ANY ($3)
         ON CONFLICT (org_id, status_list, license_id)
             DO UPDATE SET until = greatest(c.until, excluded.until)",
        &[
            (&org, Type::UUID),
            (&license_id, Type::UUID),
            (&numbers, Type::INT4_ARRAY),
            (&policies, Type::UUID_ARRAY),
            (&MARGIN_S, Type::INT8),
        ],
    )
    .await?;
    tx.execute(
        noting_lists!(concat!(
            "UPDATE licet.status_versions SET version = ",
            next_version!("version"),
            ", changed_version = ",
            next_version!("version"),
            " WHERE org_id = $1 AND number = ANY ($2)"
        )),
        &[(&org, Type::UUID), (&numbers, Type::INT4_ARRAY)],
    )
    .await?;
    Ok(())
}

/// Writes down what these lists are to say of a license.
async fn mark(
    tx: &Tx<'_>,
    license: LicenseId,
    status: LicenseStatus,
    numbers: &[i32],
) -> Result<(), Error> {
    let (org, license) = (tx.org(), license.uuid());
    if !matches!(status, LicenseStatus::Suspended | LicenseStatus::Revoked) {
        let sql = "DELETE FROM licet.withdrawals WHERE org_id = $1 AND license_id = $2";
        tx.execute(sql, &[(&org, Type::UUID), (&license, Type::UUID)])
            .await?;
        return Ok(());
    }
    tx.execute(
        "INSERT INTO licet.withdrawals (org_id, status_list, license_id, status)
         SELECT s.org_id, s.number, $2, $3 FROM licet.status_versions s
         WHERE s.org_id = $1 AND s.number = ANY ($4)
         ON CONFLICT (org_id, status_list, license_id) DO UPDATE SET status = excluded.status",
        &[
            (&org, Type::UUID),
            (&license, Type::UUID),
            (&status.as_str(), Type::TEXT),
            (&numbers, Type::INT4_ARRAY),
        ],
    )
    .await?;
    Ok(())
}

/// What tells one state of a list from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListVersion {
    pub(crate) version: u64,
    /// Entries taken.
    pub(crate) taken: u32,
    pub(crate) keys_version: u64,
    /// In which version an entry was last marked as changed.
    pub(crate) changed: u64,
}

pub(crate) async fn list_version(tx: &Tx<'_>, number: u32) -> Result<Option<ListVersion>, Error> {
    let Ok(number) = StatusEntry::column(number) else {
        return Ok(None);
    };
    let row = tx
        .query_opt(
            "SELECT s.version, s.next_index, o.keys_version, s.changed_version
             FROM licet.status_versions s
             JOIN licet.organizations o ON o.org_id = s.org_id
             WHERE s.org_id = $1 AND s.number = $2",
            &[(&tx.org(), Type::UUID), (&number, Type::INT4)],
        )
        .await?;
    row.map(|row| columns_of_version(&row)).transpose()
}

fn columns_of_version(row: &tokio_postgres::Row) -> Result<ListVersion, Error> {
    Ok(ListVersion {
        version: version(row.try_get(0)?)?,
        taken: u32::try_from(row.try_get::<_, i32>(1)?)
            .map_err(|_| Error::Row("status_versions.next_index"))?,
        keys_version: version(row.try_get(2)?)?,
        changed: version(row.try_get(3)?)?,
    })
}

/// An entry that is not simply valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Withdrawn {
    pub(crate) index: u32,
    /// A value of the status list.
    pub(crate) status: u8,
}

/// Reads what stands in the one list and nothing else of the organization: `db/tests.rs` counts.
/// Names the list by the parameter everywhere, so that the planner knows which one is meant.
pub(super) const CONTENT: &str = concat!(
    "SELECT s.version, s.next_index, o.keys_version, s.changed_version, ",
    epoch!(),
    ", ARRAY(
         SELECT (a.status_index << 4) | CASE w.status WHEN 'REVOKED' THEN 1 ELSE 2 END
         FROM licet.withdrawals w
         JOIN licet.activations a ON a.org_id = w.org_id AND a.license_id = w.license_id
             AND a.status_list = w.status_list
         WHERE w.org_id = $1 AND w.status_list = $2
         UNION ALL
         SELECT (d.status_index << 4) | 3 FROM licet.activations d
         WHERE d.org_id = $1 AND d.status_list = $2 AND d.deactivated_at IS NOT NULL
         UNION ALL
         SELECT (b.status_index << 4) | 12 FROM licet.license_changes c
         JOIN licet.activations b ON b.org_id = c.org_id AND b.license_id = c.license_id
             AND b.status_list = c.status_list
         WHERE c.org_id = $1 AND c.status_list = $2 AND c.until > now())
     FROM licet.status_versions s
     JOIN licet.organizations o ON o.org_id = s.org_id
     WHERE s.org_id = $1 AND s.number = $2"
);

/// What stands in a list.
pub(crate) struct Content {
    pub(crate) version: ListVersion,
    /// How far the feed had come by then.
    pub(crate) epoch: u64,
    pub(crate) withdrawn: Vec<Withdrawn>,
}

/// A list's version and every entry that is not valid, as of one moment: one statement, so that
/// the version can't belong to other entries. An entry may be named twice, for its license and
/// for itself.
pub(crate) async fn content(tx: &Tx<'_>, number: u32) -> Result<Option<Content>, Error> {
    let Ok(number) = StatusEntry::column(number) else {
        return Ok(None);
    };
    let rows = tx
        .query(CONTENT, &[(&tx.org(), Type::UUID), (&number, Type::INT4)])
        .await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let packed: Vec<i32> = row.try_get(5)?;
    let entries = packed.into_iter().map(|entry| {
        let [low, ..] = entry.to_le_bytes();
        Withdrawn {
            index: entry.unsigned_abs() >> 4,
            status: low & 0x0f,
        }
    });
    Ok(Some(Content {
        version: columns_of_version(row)?,
        epoch: version(row.try_get(4)?)?,
        withdrawn: entries.collect(),
    }))
}
