//! Reading a body of unknown length without taking in more than wanted.

use js_sys::{Reflect, Uint8Array};
use wasm_bindgen_futures::JsFuture;
use worker::{
    wasm_bindgen::{JsCast, JsValue},
    web_sys::{ReadableStream, ReadableStreamDefaultReader},
};

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// It has more bytes than the limit.
    TooLarge,
    /// It ended before its end.
    Broken,
}

impl From<JsValue> for ReadError {
    fn from(_: JsValue) -> Self {
        Self::Broken
    }
}

/// The bytes of a body of at most `limit` bytes; none is an empty one.
///
/// # Errors
/// [`ReadError`]; after `TooLarge` the rest is not read at all.
pub(crate) async fn read_at_most(
    body: Option<ReadableStream>,
    limit: usize,
) -> Result<Vec<u8>, ReadError> {
    let Some(body) = body else {
        return Ok(Vec::new());
    };
    let reader = ReadableStreamDefaultReader::new(&body)?;
    let mut bytes = Vec::new();
    loop {
        let piece = JsFuture::from(reader.read()).await?;
        if Reflect::get(&piece, &"done".into())?.is_truthy() {
            return Ok(bytes);
        }
        let chunk: Uint8Array = Reflect::get(&piece, &"value".into())?
            .dyn_into()
            .map_err(|_| ReadError::Broken)?;
        let start = bytes.len();
        let end = start + chunk.length() as usize;
        if end > limit {
            // Nobody waits for the sender to hear of it.
            let _ = reader.cancel();
            return Err(ReadError::TooLarge);
        }
        bytes.resize(end, 0);
        if let Some(room) = bytes.get_mut(start..) {
            chunk.copy_to(room);
        }
    }
}
