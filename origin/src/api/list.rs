//! Lists: the newest first, page by page. Ids are in the order of time, so the last id of a page
//! is all that a cursor needs to hold, and rows that come meanwhile move nothing.

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::Serialize;
use utoipa::openapi::{
    RefOr, Schema,
    schema::{ObjectBuilder, Type},
};
use uuid::Uuid;

use super::{Reply, call::Sent};
use crate::{http::HandlerError, random::RowId, rejection::Rejection};

const DEFAULT: u16 = 50;
const MAX: u16 = 100;
/// Tells cursors of this form from those of another that may come.
const FORM: u8 = 1;

/// Which page is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// Rows before this id; all where there is none.
    pub(crate) before: Option<Uuid>,
    limit: u16,
}

impl Page {
    /// How many rows to fetch: one more than is shown, to know whether there are more.
    pub(crate) fn fetch(self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// The page as an answer. `rows` are what was fetched.
    pub(crate) fn reply<R, T: Serialize, I: RowId>(
        self,
        rows: Vec<R>,
        id: impl Fn(&R) -> I,
        show: impl Fn(R) -> T,
    ) -> Result<Reply, HandlerError> {
        self.reply_by(rows, |row| id(row).uuid(), show)
    }

    /// The same, of rows whose order is not that of an id.
    pub(crate) fn reply_by<R, T: Serialize>(
        self,
        rows: Vec<R>,
        key: impl Fn(&R) -> Uuid,
        show: impl Fn(R) -> T,
    ) -> Result<Reply, HandlerError> {
        self.show(rows, None, key, show)
    }

    /// The same, where the search stopped before the page was full.
    pub(crate) fn reply_until<R, T: Serialize, I: RowId>(
        self,
        rows: Vec<R>,
        stopped: Option<Uuid>,
        id: impl Fn(&R) -> I,
        show: impl Fn(R) -> T,
    ) -> Result<Reply, HandlerError> {
        self.show(rows, stopped, |row| id(row).uuid(), show)
    }

    fn show<R, T: Serialize>(
        self,
        mut rows: Vec<R>,
        stopped: Option<Uuid>,
        key: impl Fn(&R) -> Uuid,
        show: impl Fn(R) -> T,
    ) -> Result<Reply, HandlerError> {
        let limit = usize::from(self.limit);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| more).map(&key);
        Reply::ok(&Listed {
            next_cursor: last.or(stopped).map(cursor),
            data: rows.into_iter().map(show).collect::<Vec<_>>(),
        })
    }
}

#[derive(Serialize)]
struct Listed<T> {
    data: Vec<T>,
    next_cursor: Option<String>,
}

impl Sent {
    /// `limit` and `cursor`.
    pub(crate) fn page(&self) -> Result<Page, HandlerError> {
        let limit = match self.param("limit") {
            None => DEFAULT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=MAX).contains(limit))
                .ok_or_else(|| Rejection::field("limit", "must be a number from 1 to 100"))?,
        };
        let before = self
            .param("cursor")
            .map(|text| {
                read(text).ok_or_else(|| Rejection::field("cursor", "is none that we gave"))
            })
            .transpose()?;
        Ok(Page { before, limit })
    }

    /// A yes or no in the query.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, HandlerError> {
        self.param(name)
            .map(|text| match text {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err(Rejection::field(name, "must be true or false").into()),
            })
            .transpose()
    }
}

fn cursor(id: Uuid) -> String {
    let mut bytes = [FORM; 17];
    bytes[1..].copy_from_slice(id.as_bytes());
    Base64UrlUnpadded::encode_string(&bytes)
}

fn read(text: &str) -> Option<Uuid> {
    let mut bytes = [0; 17];
    match Base64UrlUnpadded::decode(text, &mut bytes).ok()? {
        [FORM, id @ ..] => Uuid::from_slice(id).ok(),
        _ => None,
    }
}

/// The form that the description gives it. Callers need not know what is in it.
pub(super) fn cursor_schema() -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^A[Q-Za-f][A-Za-z0-9_-]{20}[AEIMQUYcgkosw048]$"))
        .into()
}

pub(super) fn limit_schema() -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1))
        .maximum(Some(f64::from(MAX)))
        .default(Some(DEFAULT.into()))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_nothing_else_does() {
        let id = Uuid::from_u128(0x0190_1234_5678_7abc_8000_0000_0000_0001);
        assert_eq!(read(&cursor(id)), Some(id));
        for bad in [
            "",
            "AQ",
            "x y",
            &cursor(id)[1..],
            &format!("{}A", cursor(id)),
            "é",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(read(&Base64UrlUnpadded::encode_string(&[2; 17])), None);
    }
}
