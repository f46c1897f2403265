//! `leases`: who holds a floating seat.
//!
//! A lease takes its seat while `ended_at` is null. One whose time and margin have passed is ended by
//! whoever next takes a seat of the license ([`end_overdue`]), so no job has to come by. A heartbeat
//! asks for the same row: it comes first and the lease goes on, or too late and finds it ended.
//! Never both, whatever the clocks say.
//!
//! Times are the database's, the one clock that all processes of the origin share.

use std::time::SystemTime;

use licet_shared::{
    id::{ActivationId, LeaseId, LicenseId},
    time::Timestamp,
};
use serde::Serialize;
use tokio_postgres::{Row, types::Type};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Error, Tx};
use crate::{clock, random::RowId};

/// Seconds after its end for which a lease still takes its seat: for a heartbeat that is under way,
/// and for the difference between the clock of the database and those that look at the token.
pub(crate) const MARGIN_S: f64 = 5.0;
/// How long a lease lives whose license does not say.
const DEFAULT_LEASE_S: f64 = 600.0;

/// Why a lease takes its seat no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum EndedWhy {
    /// No heartbeat came in time.
    Expired,
    /// Its holder gave it back.
    Released,
    /// Its vendor took it back.
    TakenBack,
    /// Its activation was given back.
    Deactivated,
}

impl EndedWhy {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "EXPIRED",
            Self::Released => "RELEASED",
            Self::TakenBack => "TAKEN_BACK",
            Self::Deactivated => "DEACTIVATED",
        }
    }

    fn from_column(text: &str) -> Result<Self, Error> {
        [
            Self::Expired,
            Self::Released,
            Self::TakenBack,
            Self::Deactivated,
        ]
        .into_iter()
        .find(|why| why.as_str() == text)
        .ok_or(Error::Row("leases.ended_why"))
    }
}

/// A lease as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LeaseRecord {
    pub(crate) id: LeaseId,
    pub(crate) license: LicenseId,
    pub(crate) activation: ActivationId,
    pub(crate) holder: String,
    pub(crate) machine_hash: String,
    pub(crate) borrowed: bool,
    pub(crate) acquired_at: Timestamp,
    pub(crate) renewed_at: Timestamp,
    /// The end of its newest token.
    pub(crate) expires_at: Timestamp,
    /// When and why it ended, also if nobody has written that down yet.
    pub(crate) ended: Option<(Timestamp, EndedWhy)>,
}

macro_rules! columns {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            " s.id, s.license_id, s.activation_id, s.holder, s.machine_hash, s.borrowed,
              s.acquired_at, s.renewed_at, s.expires_at, s.ended_at, s.ended_why,
              s.ended_at IS NULL AND s.expires_at < statement_timestamp() - make_interval(secs => $2) ",
            $after
        )
    };
}

fn record(row: &Row) -> Result<LeaseRecord, Error> {
    let expires_at = clock::timestamp(row.try_get(8)?);
    let written: Option<SystemTime> = row.try_get(9)?;
    let ended = match written {
        Some(at) => Some((
            clock::timestamp(at),
            EndedWhy::from_column(row.try_get(10)?)?,
        )),
        None if row.try_get(11)? => Some((expires_at, EndedWhy::Expired)),
        None => None,
    };
    Ok(LeaseRecord {
        id: LeaseId::from_uuid(row.try_get(0)?),
        license: LicenseId::from_uuid(row.try_get(1)?),
        activation: ActivationId::from_uuid(row.try_get(2)?),
        holder: row.try_get(3)?,
        machine_hash: row.try_get(4)?,
        borrowed: row.try_get(5)?,
        acquired_at: clock::timestamp(row.try_get(6)?),
        renewed_at: clock::timestamp(row.try_get(7)?),
        expires_at,
        ended,
    })
}

/// Ends those leases of a license whose time and margin have passed. The license must be locked.
pub(crate) async fn end_overdue(tx: &Tx<'_>, license: LicenseId) -> Result<(), Error> {
    // One that a heartbeat is just renewing is waited for, and looked at anew.
    tx.execute(
        "UPDATE licet.leases SET ended_at = expires_at, ended_why = 'EXPIRED'
         WHERE org_id = $1 AND id = ANY (ARRAY(
             SELECT o.id FROM licet.leases o
             WHERE o.org_id = $1 AND o.license_id = $3 AND o.ended_at IS NULL
                 AND o.expires_at < statement_timestamp() - make_interval(secs => $2)
             ORDER BY o.id FOR UPDATE))",
        &[
            (&tx.org(), Type::UUID),
            (&MARGIN_S, Type::FLOAT8),
            (&license.uuid(), Type::UUID),
        ],
    )
    .await?;
    Ok(())
}

/// How a license's seats are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) leases: i64,
    pub(crate) users: i64,
    pub(crate) machines: i64,
    /// Leases of this user.
    pub(crate) of_user: i64,
    /// Leases on this machine.
    pub(crate) of_machine: i64,
}

/// Counts the leases of a license. Exact only while its row is locked, after [`end_overdue`]; as a
/// statement of its own it sees what was committed by those who held the lock before.
pub(crate) async fn usage(
    tx: &Tx<'_>,
    license: LicenseId,
    holder: &str,
    machine_hash: &str,
) -> Result<Usage, Error> {
    let row = tx
        .query_opt(
            "SELECT count(*), count(DISTINCT holder), count(DISTINCT machine_hash),
                 count(*) FILTER (WHERE holder = $3), count(*) FILTER (WHERE machine_hash = $4)
             FROM licet.leases WHERE org_id = $1 AND license_id = $2 AND ended_at IS NULL",
            &[
                (&tx.org(), Type::UUID),
                (&license.uuid(), Type::UUID),
                (&holder, Type::TEXT),
                (&machine_hash, Type::TEXT),
            ],
        )
        .await?;
    let row = row.ok_or(Error::Row("leases"))?;
    Ok(Usage {
        leases: row.try_get(0)?,
        users: row.try_get(1)?,
        machines: row.try_get(2)?,
        of_user: row.try_get(3)?,
        of_machine: row.try_get(4)?,
    })
}

/// A lease that an earlier request acquired under the same key, and the hash of what that asked.
pub(crate) async fn by_request(
    tx: &Tx<'_>,
    request_key: &[u8; 32],
) -> Result<Option<(LeaseRecord, Vec<u8>)>, Error> {
    let row = tx
        .query_opt(
            columns!(
                "SELECT",
                ", s.request_hash FROM licet.leases s WHERE s.org_id = $1 AND s.request_key = $3"
            ),
            &[
                (&tx.org(), Type::UUID),
                (&MARGIN_S, Type::FLOAT8),
                (&request_key.as_slice(), Type::BYTEA),
            ],
        )
        .await?;
    row.map(|row| Ok((record(&row)?, row.try_get(12)?)))
        .transpose()
}

/// A lease to be made.
pub(crate) struct NewLease<'a> {
    pub(crate) id: LeaseId,
    pub(crate) license: LicenseId,
    pub(crate) activation: ActivationId,
    pub(crate) holder: &'a str,
    pub(crate) machine_hash: &'a str,
    pub(crate) borrowed: bool,
    pub(crate) lasts_s: u32,
    pub(crate) request_key: &'a [u8; 32],
    pub(crate) request_hash: &'a [u8; 32],
}

/// Makes a lease, whose end is in whole seconds, as its token has it. The license must be locked,
/// and have a seat for it.
pub(crate) async fn insert(tx: &Tx<'_>, lease: &NewLease<'_>) -> Result<LeaseRecord, Error> {
    let row = tx
        .query_opt(
            columns!(
                "INSERT INTO licet.leases AS s
                 (org_id, id, license_id, activation_id, holder, machine_hash, borrowed,
                  acquired_at, renewed_at, expires_at, request_key, request_hash)
             VALUES ($1, $3, $4, $5, $6, $7, $8, statement_timestamp(), statement_timestamp(),
                 date_trunc('second', statement_timestamp()) + make_interval(secs => $9), $10, $11)
             RETURNING",
                ""
            ),
            &[
                (&tx.org(), Type::UUID),
                (&MARGIN_S, Type::FLOAT8),
                (&lease.id.uuid(), Type::UUID),
                (&lease.license.uuid(), Type::UUID),
                (&lease.activation.uuid(), Type::UUID),
                (&lease.holder, Type::TEXT),
                (&lease.machine_hash, Type::TEXT),
                (&lease.borrowed, Type::BOOL),
                (&f64::from(lease.lasts_s), Type::FLOAT8),
                (&lease.request_key.as_slice(), Type::BYTEA),
                (&lease.request_hash.as_slice(), Type::BYTEA),
            ],
        )
        .await?;
    record(&row.ok_or(Error::Row("leases"))?)
}

/// A lease by its id, of this activation.
pub(crate) async fn find_own(
    tx: &Tx<'_>,
    id: LeaseId,
    activation: ActivationId,
) -> Result<Option<LeaseRecord>, Error> {
    let row = tx
        .query_opt(
            columns!(
                "SELECT",
                "FROM licet.leases s WHERE s.org_id = $1 AND s.id = $3 AND s.activation_id = $4"
            ),
            &[
                (&tx.org(), Type::UUID),
                (&MARGIN_S, Type::FLOAT8),
                (&id.uuid(), Type::UUID),
                (&activation.uuid(), Type::UUID),
            ],
        )
        .await?;
    row.map(|row| record(&row)).transpose()
}

/// Lets a lease live for another span of its license's, if it has not ended, its license and
/// activation stand, and the organization's keys are no newer than `keys_version`. A borrowed one
/// whose end is later keeps it.
pub(crate) async fn renew(
    tx: &Tx<'_>,
    id: LeaseId,
    license: LicenseId,
    activation: ActivationId,
    keys_version: u64,
) -> Result<Option<LeaseRecord>, Error> {
    let keys_version = i64::try_from(keys_version).unwrap_or(i64::MAX);
    let row = tx
        .query_opt(
            columns!(
                "UPDATE licet.leases s
                 SET renewed_at = statement_timestamp(), expires_at = greatest(s.expires_at,
                     date_trunc('second', statement_timestamp()) + make_interval(secs => coalesce(
                         (coalesce(l.terms -> 'seats', p.terms -> 'seats') ->> 'lease_s')::float8, $7)))
                 FROM licet.licenses l, licet.policies p, licet.organizations o, licet.activations a
                 WHERE s.org_id = $1 AND s.id = $3 AND s.activation_id = $4 AND s.license_id = $5
                     AND s.ended_at IS NULL
                     AND s.expires_at >= statement_timestamp() - make_interval(secs => $2)
                     AND l.org_id = s.org_id AND l.id = s.license_id
                     AND l.status NOT IN ('REVOKED', 'SUSPENDED')
                     AND p.org_id = l.org_id AND p.id = l.policy_id
                     AND a.org_id = s.org_id AND a.id = s.activation_id AND a.deactivated_at IS NULL
                     AND o.org_id = s.org_id AND o.keys_version <= $6
                 RETURNING",
                ""
            ),
            &[
                (&tx.org(), Type::UUID),
                (&MARGIN_S, Type::FLOAT8),
                (&id.uuid(), Type::UUID),
                (&activation.uuid(), Type::UUID),
                (&license.uuid(), Type::UUID),
                (&keys_version, Type::INT8),
                (&DEFAULT_LEASE_S, Type::FLOAT8),
            ],
        )
        .await?;
    row.map(|row| record(&row)).transpose()
}

/// Ends a lease that has not ended; none where it had, or is not there.
pub(crate) async fn end(
    tx: &Tx<'_>,
    id: LeaseId,
    why: EndedWhy,
) -> Result<Option<LeaseRecord>, Error> {
    let row = tx
        .query_opt(
            columns!(
                "UPDATE licet.leases s
                 SET ended_at = least(statement_timestamp(), s.expires_at), ended_why = $4
                 WHERE s.org_id = $1 AND s.id = $3 AND s.ended_at IS NULL
                     AND s.expires_at >= statement_timestamp() - make_interval(secs => $2)
                 RETURNING",
                ""
            ),
            &[
                (&tx.org(), Type::UUID),
                (&MARGIN_S, Type::FLOAT8),
                (&id.uuid(), Type::UUID),
                (&why.as_str(), Type::TEXT),
            ],
        )
        .await?;
    row.map(|row| record(&row)).transpose()
}

/// Ends all leases of an activation that was given back.
pub(crate) async fn end_with_activation(
    tx: &Tx<'_>,
    activation: ActivationId,
) -> Result<(), Error> {
    tx.execute(
        "UPDATE licet.leases
         SET ended_at = least(statement_timestamp(), expires_at), ended_why = 'DEACTIVATED'
         WHERE org_id = $1 AND id = ANY (ARRAY(
             SELECT o.id FROM licet.leases o
             WHERE o.org_id = $1 AND o.activation_id = $2 AND o.ended_at IS NULL
             ORDER BY o.id FOR UPDATE))",
        &[(&tx.org(), Type::UUID), (&activation.uuid(), Type::UUID)],
    )
    .await?;
    Ok(())
}

pub(crate) async fn find(tx: &Tx<'_>, id: LeaseId) -> Result<Option<LeaseRecord>, Error> {
    let row = tx
        .query_opt(
            columns!(
                "SELECT",
                "FROM licet.leases s WHERE s.org_id = $1 AND s.id = $3"
            ),
            &[
                (&tx.org(), Type::UUID),
                (&MARGIN_S, Type::FLOAT8),
                (&id.uuid(), Type::UUID),
            ],
        )
        .await?;
    row.map(|row| record(&row)).transpose()
}

/// Leases, the newest first: of one license or of all; those that take a seat, those that do not,
/// or both.
pub(crate) async fn list(
    tx: &Tx<'_>,
    license: Option<LicenseId>,
    live: Option<bool>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<LeaseRecord>, Error> {
    let rows = tx
        .query(
            columns!(
                "SELECT",
                "FROM licet.leases s
                 WHERE s.org_id = $1 AND ($3::uuid IS NULL OR s.id < $3)
                     AND ($4::uuid IS NULL OR s.license_id = $4)
                     AND ($5::bool IS NULL OR (s.ended_at IS NULL
                         AND s.expires_at >= statement_timestamp() - make_interval(secs => $2)) = $5)
                 ORDER BY s.id DESC LIMIT $6"
            ),
            &[
                (&tx.org(), Type::UUID),
                (&MARGIN_S, Type::FLOAT8),
                (&before, Type::UUID),
                (&license.map(RowId::uuid), Type::UUID),
                (&live, Type::BOOL),
                (&limit, Type::INT8),
            ],
        )
        .await?;
    rows.iter().map(record).collect()
}
