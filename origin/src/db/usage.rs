//! `usage`: what licenses have used of their metered features.

use std::time::SystemTime;

use licet_shared::{
    documents::{Period, Quota, Used},
    id::LicenseId,
    time::Timestamp,
};
use tokio_postgres::types::Type;

use super::{Error, Tx};
use crate::{
    clock::{self, system_time},
    random::RowId,
};

/// So much of one metered feature.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amount<'a> {
    pub(crate) feature: &'a str,
    pub(crate) quota: Quota,
    pub(crate) amount: u64,
}

fn column(number: u64) -> Result<i64, Error> {
    i64::try_from(number).map_err(|_| Error::Row("usage"))
}

fn number(column: i64) -> Result<u64, Error> {
    u64::try_from(column).map_err(|_| Error::Row("usage"))
}

/// Adds these amounts, each of another feature, where the period's quota leaves room for them, and
/// hands back those that were added with what is used by then. Who adds to the same row waits; rows
/// are taken in the order of the features' names, which must be that of `amounts`.
pub(crate) async fn add(
    tx: &Tx<'_>,
    license: LicenseId,
    amounts: &[Amount<'_>],
    now: Timestamp,
) -> Result<Vec<(String, u64)>, Error> {
    let each = |read: fn(&Amount<'_>) -> u64| -> Result<Vec<i64>, Error> {
        amounts.iter().map(|one| column(read(one))).collect()
    };
    let features: Vec<&str> = amounts.iter().map(|one| one.feature).collect();
    let periods: Vec<&str> = amounts
        .iter()
        .map(|one| one.quota.period.as_str())
        .collect();
    let starts: Vec<SystemTime> = amounts
        .iter()
        .map(|one| system_time(one.quota.period.start(now)))
        .collect();
    let rows = tx
        .query(
            "INSERT INTO licet.usage AS u
                 (org_id, license_id, feature, period, period_start, used, quota)
             SELECT $1, $2, n.feature, n.period, n.start, n.amount, n.quota
             FROM unnest($3::text[], $4::text[], $5::timestamptz[], $6::int8[], $7::int8[])
                 WITH ORDINALITY AS n (feature, period, start, amount, quota, place)
             WHERE n.amount <= n.quota ORDER BY n.place
             ON CONFLICT (org_id, license_id, feature, period, period_start) DO UPDATE
                 SET used = u.used + excluded.used, quota = excluded.quota, updated_at = now()
                 WHERE u.used + excluded.used <= excluded.quota
             RETURNING feature, used",
            &[
                (&tx.org(), Type::UUID),
                (&license.uuid(), Type::UUID),
                (&features, Type::TEXT_ARRAY),
                (&periods, Type::TEXT_ARRAY),
                (&starts, Type::TIMESTAMPTZ_ARRAY),
                (&each(|one| one.amount)?, Type::INT8_ARRAY),
                (&each(|one| one.quota.quota)?, Type::INT8_ARRAY),
            ],
        )
        .await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, number(row.try_get(1)?)?)))
        .collect()
}

/// What was used in the periods that `at` is in, by feature.
pub(crate) async fn at(
    tx: &Tx<'_>,
    license: LicenseId,
    at: Timestamp,
) -> Result<Vec<(String, Used)>, Error> {
    let start = |period: Period| system_time(period.start(at));
    let rows = tx
        .query(
            "SELECT u.feature, u.period, u.period_start, u.used FROM licet.usage u
             WHERE u.org_id = $1 AND u.license_id = $2 AND u.period_start = CASE u.period
                 WHEN 'day' THEN $3::timestamptz WHEN 'month' THEN $4::timestamptz
                 WHEN 'year' THEN $5::timestamptz ELSE $6::timestamptz END
             ORDER BY u.feature, u.period",
            &[
                (&tx.org(), Type::UUID),
                (&license.uuid(), Type::UUID),
                (&start(Period::Day), Type::TIMESTAMPTZ),
                (&start(Period::Month), Type::TIMESTAMPTZ),
                (&start(Period::Year), Type::TIMESTAMPTZ),
                (&start(Period::Once), Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let period = Period::named(row.try_get(1)?).ok_or(Error::Row("usage.period"))?;
            let used = Used {
                period,
                start: clock::timestamp(row.try_get(2)?).unix(),
                used: number(row.try_get(3)?)?,
            };
            Ok((row.try_get(0)?, used))
        })
        .collect()
}

/// What was used of a feature in the quota's period that `at` is in. The row is locked, and there
/// from now on.
pub(crate) async fn lock(
    tx: &Tx<'_>,
    license: LicenseId,
    feature: &str,
    quota: Quota,
    at: Timestamp,
) -> Result<u64, Error> {
    let row = tx
        .query_opt(
            "INSERT INTO licet.usage AS u
                 (org_id, license_id, feature, period, period_start, used, quota)
             VALUES ($1, $2, $3, $4, $5, 0, $6)
             ON CONFLICT (org_id, license_id, feature, period, period_start)
                 DO UPDATE SET used = u.used
             RETURNING used",
            &[
                (&tx.org(), Type::UUID),
                (&license.uuid(), Type::UUID),
                (&feature, Type::TEXT),
                (&quota.period.as_str(), Type::TEXT),
                (&system_time(quota.period.start(at)), Type::TIMESTAMPTZ),
                (&column(quota.quota)?, Type::INT8),
            ],
        )
        .await?;
    number(row.ok_or(Error::Row("usage"))?.try_get(0)?)
}

/// Writes down what was used. The row must be locked.
pub(crate) async fn set(
    tx: &Tx<'_>,
    license: LicenseId,
    feature: &str,
    quota: Quota,
    at: Timestamp,
    used: u64,
) -> Result<(), Error> {
    tx.execute(
        "UPDATE licet.usage SET used = $6, updated_at = now()
         WHERE org_id = $1 AND license_id = $2 AND feature = $3 AND period = $4 AND period_start = $5",
        &[
            (&tx.org(), Type::UUID),
            (&license.uuid(), Type::UUID),
            (&feature, Type::TEXT),
            (&quota.period.as_str(), Type::TEXT),
            (&system_time(quota.period.start(at)), Type::TIMESTAMPTZ),
            (&column(used)?, Type::INT8),
        ],
    )
    .await?;
    Ok(())
}
