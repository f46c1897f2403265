//! Rows in the binary format of COPY.

use serde_json::Value;
use uuid::Uuid;

/// 2000-01-01 in microseconds since 1970: where Postgres counts times from.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;
/// Type id of `text`, which arrays name.
const TEXT_OID: u32 = 25;

/// Rows of one table.
pub(super) struct Rows {
    bytes: Vec<u8>,
    columns: i16,
}

impl Rows {
    /// None yet, of a table with so many columns.
    pub(super) fn new(columns: i16) -> Self {
        let mut bytes = b"PGCOPY\n\xff\r\n\0".to_vec();
        // No flags, no extension.
        bytes.extend([0; 8]);
        Self { bytes, columns }
    }

    /// Begins a row, whose columns then follow.
    pub(super) fn row(&mut self) -> &mut Self {
        self.bytes.extend(self.columns.to_be_bytes());
        self
    }

    /// All of them with the end mark.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.extend((-1i16).to_be_bytes());
        self.bytes
    }

    /// No field comes near 2 GiB.
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
    fn field(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend((bytes.len() as i32).to_be_bytes());
        self.bytes.extend(bytes);
        self
    }

    pub(super) fn null(&mut self) -> &mut Self {
        self.bytes.extend((-1i32).to_be_bytes());
        self
    }

    pub(super) fn uuid(&mut self, uuid: Uuid) -> &mut Self {
        self.field(uuid.as_bytes())
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.field(text.as_bytes())
    }

    pub(super) fn bytea(&mut self, bytes: &[u8]) -> &mut Self {
        self.field(bytes)
    }

    pub(super) fn int4(&mut self, number: i32) -> &mut Self {
        self.field(&number.to_be_bytes())
    }

    pub(super) fn int8(&mut self, number: i64) -> &mut Self {
        self.field(&number.to_be_bytes())
    }

    /// A timestamp with time zone, from microseconds since 1970.
    pub(super) fn time(&mut self, unix_us: i64) -> &mut Self {
        self.field(&(unix_us - POSTGRES_EPOCH_US).to_be_bytes())
    }

    pub(super) fn time_or_null(&mut self, unix_us: Option<i64>) -> &mut Self {
        match unix_us {
            Some(unix_us) => self.time(unix_us),
            None => self.null(),
        }
    }

    pub(super) fn jsonb(&mut self, value: &Value) -> &mut Self {
        let mut bytes = vec![1];
        bytes.extend(value.to_string().as_bytes());
        self.field(&bytes)
    }

    /// One-dimensional, without nulls.
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
    pub(super) fn texts(&mut self, texts: &[&str]) -> &mut Self {
        let mut bytes = Vec::new();
        for head in [1, 0, TEXT_OID as i32, texts.len() as i32, 1] {
            bytes.extend(head.to_be_bytes());
        }
        for text in texts {
            bytes.extend((text.len() as i32).to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        self.field(&bytes)
    }
}
