//! Text that is put together from many small pieces.

use std::io;

/// What is written; grows as needed.
///
/// A `Vec` copies each piece by an instruction of Wasm's that costs its runtime a call, however short the
/// piece is. Here short ones are copied by words.
pub(crate) struct Text {
    /// As many bytes as there is room for.
    room: Vec<u8>,
    written: usize,
}

impl Text {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self {
            room: vec![0; bytes],
            written: 0,
        }
    }

    /// The text; empty if what was written is none.
    pub(crate) fn into_string(mut self) -> String {
        self.room.truncate(self.written);
        String::from_utf8(self.room).unwrap_or_default()
    }

    #[cold]
    fn grow(&mut self, bytes: usize) {
        let needed = self.written.saturating_add(bytes);
        self.room.resize(needed.max(2 * self.room.len()), 0);
    }
}

impl io::Write for Text {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.write_all(piece).map(|()| piece.len())
    }

    fn write_all(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.room.len() - self.written < piece.len() {
            self.grow(piece.len());
        }
        let end = self.written + piece.len();
        copy(&mut self.room[self.written..end], piece);
        self.written = end;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Both are of the same length.
fn copy(to: &mut [u8], from: &[u8]) {
    match from.len() {
        0 => {}
        1 => to[0] = from[0],
        2..4 => copy_ends::<2>(to, from),
        4..8 => copy_ends::<4>(to, from),
        8..=16 => copy_ends::<8>(to, from),
        _ => to.copy_from_slice(from),
    }
}

/// By the first and the last `N` bytes, which meet or overlap where there are `N` to `2 * N`.
fn copy_ends<const N: usize>(to: &mut [u8], from: &[u8]) {
    if let (Some(to), Some(from)) = (to.first_chunk_mut::<N>(), from.first_chunk()) {
        *to = *from;
    }
    if let (Some(to), Some(from)) = (to.last_chunk_mut::<N>(), from.last_chunk()) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::Text;

    #[test]
    fn pieces_of_any_length_stand_one_after_the_other() {
        let alphabet: String = ('a'..='z').cycle().take(100).collect();
        for room in [0, 1, 64, 10_000] {
            let mut text = Text::with_capacity(room);
            let mut expected = String::new();
            for length in (0..100).chain((0..100).rev()) {
                let piece = &alphabet[length / 3..][..length.min(100 - length / 3)];
                text.write_all(piece.as_bytes()).unwrap();
                expected.push_str(piece);
            }
            assert_eq!(text.into_string(), expected, "{room}");
        }
    }
}
