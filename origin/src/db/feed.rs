//! What has changed of all that organizations publish, and how far that goes.

use licet_shared::{documents::Change, id::OrgTag};
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

use super::{
    Database, Error, Tx,
    organizations::{epoch, version},
};
use crate::random::RowId;

/// An UPDATE of status lists as a statement that also tells the feed, in the same transaction.
macro_rules! noting_lists {
    ($update:expr) => {
        concat!(
            "WITH raised AS (",
            $update,
            " RETURNING number, version)
             SELECT licet.note_published('STATUS_LIST', number::text, version) FROM raised
             ORDER BY number"
        )
    };
}
pub(super) use noting_lists;

/// Changes up to one moment.
#[derive(Clone, Debug)]
pub(crate) struct Changes {
    /// Higher where the database was put back to an earlier state.
    pub(crate) generation: u64,
    /// All changes after this epoch are here.
    pub(crate) since: u64,
    /// The epoch up to which that is so.
    pub(crate) epoch: u64,
    /// The epoch of the newest of them, or else `since`.
    pub(crate) newest: u64,
    pub(crate) changed: Vec<Change>,
}

impl Database {
    /// The documents that have changed after the epoch `since`, or those of them that changed last
    /// where they are more than `most`. One statement: all that was committed before it is seen.
    ///
    /// A change that was committed while an older transaction is at work is told now and, as `epoch`
    /// stays behind that one, next time again.
    pub(crate) async fn changes(&self, since: u64, most: u32) -> Result<Changes, Error> {
        const SQL: &str = concat!(
            "SELECT g.last_value, ",
            epoch!(),
            ", c.epoch, c.tag, c.kind, c.name, c.version
             FROM licet.feed_generation g
             LEFT JOIN LATERAL licet.published_since($1, $2) c ON true
             ORDER BY c.epoch DESC"
        );
        let wrong = |_| Error::Row("published");
        let asked = i64::try_from(since).unwrap_or(i64::MAX);
        // One more than is told, to see whether there are more.
        let limit = i32::try_from(most + 1).map_err(wrong)?;
        let arguments: [(&(dyn ToSql + Sync), Type); 2] =
            [(&asked, Type::INT8), (&limit, Type::INT4)];
        let connection = self.connection().await?;
        let rows = connection.query_typed(SQL, &arguments).await?;
        let first = rows.first().ok_or(Error::Row("published"))?;
        let (generation, epoch) = (version(first.try_get(0)?)?, version(first.try_get(1)?)?);
        let most = usize::try_from(most).map_err(wrong)?;
        let beyond = rows.get(most).map(|row| row.try_get::<_, i64>(2));
        let since = match beyond.transpose()? {
            Some(untold) => version(untold)?.min(epoch),
            None => since.min(epoch),
        };
        let newest: Option<i64> = first.try_get(2)?;
        let told = rows
            .iter()
            .take(most)
            .filter_map(|row| change(row).transpose());
        Ok(Changes {
            generation,
            since,
            epoch,
            newest: newest.map(version).transpose()?.unwrap_or(since),
            changed: told.collect::<Result<_, _>>()?,
        })
    }
}

/// None in the one row that there is where nothing has changed.
fn change(row: &Row) -> Result<Option<Change>, Error> {
    let Some(tag) = row.try_get::<_, Option<&str>>(3)? else {
        return Ok(None);
    };
    let (kind, name): (&str, &str) = (row.try_get(4)?, row.try_get(5)?);
    let wrong = || Error::Row("published");
    let org: OrgTag = tag.parse().map_err(|_| wrong())?;
    let mut change = Change {
        org,
        status_list: None,
        feature_set: None,
        version: version(row.try_get(6)?)?,
    };
    match kind {
        "KEYS" => {}
        "STATUS_LIST" => change.status_list = Some(name.parse().map_err(|_| wrong())?),
        "FEATURE_SET" => {
            let id: uuid::Uuid = name.parse().map_err(|_| wrong())?;
            change.feature_set = Some(RowId::from_uuid(id));
        }
        _ => return Err(wrong()),
    }
    Ok(Some(change))
}

/// Has edges begin anew with the feed: for a database that was put back to an earlier state, where
/// epochs may be given out a second time.
pub(crate) async fn begin_generation(tx: &Tx<'_>) -> Result<(), Error> {
    // By the clock, so that none is given out twice: a restore puts the sequence back too.
    tx.query_opt(
        "SELECT setval('licet.feed_generation',
             greatest(last_value + 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint))
         FROM licet.feed_generation",
        &[],
    )
    .await?;
    Ok(())
}
