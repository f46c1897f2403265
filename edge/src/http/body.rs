//! Reading a body of unknown length without taking in more than wanted.

use js_sys::{Promise, Reflect, Uint8Array};
use worker::{
    wasm_bindgen::{JsCast, JsValue},
    web_sys::{ReadableStream, ReadableStreamDefaultReader},
};

use crate::{bindings, clock};

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// It has more bytes than the limit.
    TooLarge,
    /// It ended before its end.
    Broken,
    /// It did not come in time.
    TooSlow,
}

impl From<JsValue> for ReadError {
    fn from(_: JsValue) -> Self {
        Self::Broken
    }
}

/// What a piece of a body comes to, if that is soon enough.
pub(super) async fn in_time(piece: &Promise, until_ms: u64) -> Result<JsValue, ReadError> {
    let left_ms = until_ms.saturating_sub(clock::now_ms());
    let left_ms = u32::try_from(left_ms).unwrap_or(u32::MAX);
    let piece = bindings::within(left_ms, piece).await;
    Ok(piece.ok_or(ReadError::TooSlow)??)
}

/// The bytes of a body of at most `limit` bytes that has come until `until_ms`; none is an empty
/// one.
///
/// # Errors
/// [`ReadError`]; after `TooLarge` and `TooSlow` the rest is not read at all.
pub(crate) async fn read_at_most(
    body: Option<ReadableStream>,
    limit: usize,
    until_ms: u64,
) -> Result<Vec<u8>, ReadError> {
    let Some(body) = body else {
        return Ok(Vec::new());
    };
    let reader = ReadableStreamDefaultReader::new(&body)?;
    let mut bytes = Vec::new();
    // Cancels are not awaited: nobody waits for the sender to hear of it.
    loop {
        let piece = match in_time(&reader.read(), until_ms).await {
            Ok(piece) => piece,
            Err(error) => {
                let _ = reader.cancel();
                return Err(error);
            }
        };
        if Reflect::get(&piece, &"done".into())?.is_truthy() {
            return Ok(bytes);
        }
        let chunk: Uint8Array = Reflect::get(&piece, &"value".into())?
            .dyn_into()
            .map_err(|_| ReadError::Broken)?;
        let start = bytes.len();
        let end = start + chunk.length() as usize;
        if end > limit {
            let _ = reader.cancel();
            return Err(ReadError::TooLarge);
        }
        bytes.resize(end, 0);
        if let Some(room) = bytes.get_mut(start..) {
            chunk.copy_to(room);
        }
    }
}

#[cfg(test)]
mod tests {
    use js_sys::{Function, Object, Reflect};
    use wasm_bindgen_test::wasm_bindgen_test;
    use worker::web_sys::ReadableStream;

    use super::{ReadError, read_at_most};
    use crate::clock;

    #[wasm_bindgen_test]
    async fn a_body_that_never_ends_is_given_up() {
        let source = Object::new();
        let start = Function::new_with_args("c", "c.enqueue(new Uint8Array([1]))");
        Reflect::set(&source, &"start".into(), &start).unwrap();
        let stream = ReadableStream::new_with_underlying_source(&source).unwrap();
        let begin_ms = clock::now_ms();
        let read = read_at_most(Some(stream), 100, begin_ms + 150).await;
        assert_eq!(read, Err(ReadError::TooSlow));
        let took_ms = clock::now_ms() - begin_ms;
        assert!((140..2_000).contains(&took_ms), "{took_ms}");
    }

    #[wasm_bindgen_test]
    async fn a_body_is_read_piece_by_piece() {
        let source = Object::new();
        let pull = "this.n = (this.n ?? 0) + 1; if (this.n > 3) c.close(); else c.enqueue(new Uint8Array([this.n]))";
        let pull = Function::new_with_args("c", pull);
        Reflect::set(&source, &"pull".into(), &pull).unwrap();
        let stream = || ReadableStream::new_with_underlying_source(&source).unwrap();
        let until_ms = clock::now_ms() + 5_000;
        let read = read_at_most(Some(stream()), 3, until_ms).await;
        assert_eq!(read.as_deref(), Ok(&[1, 2, 3][..]));
        Reflect::set(&source, &"n".into(), &0.into()).unwrap();
        let read = read_at_most(Some(stream()), 2, until_ms).await;
        assert_eq!(read, Err(ReadError::TooLarge));
    }
}
