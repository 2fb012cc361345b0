//! Has a part of the next HTTP/1.1 request arrived together with the last one?

use std::sync::atomic::{AtomicU32, Ordering};

/// The last four bytes that a client sent.
#[derive(Debug, Default)]
pub(crate) struct LastBytes(AtomicU32);

impl LastBytes {
    pub(crate) fn received(&self, bytes: &[u8]) {
        let last = match bytes {
            [.., a, b, c, d] => u32::from_be_bytes([*a, *b, *c, *d]),
            few => few
                .iter()
                .fold(self.0.load(Ordering::Relaxed), |last, byte| {
                    last << 8 | u32::from(*byte)
                }),
        };
        self.0.store(last, Ordering::Relaxed);
    }

    /// Whether they end in the empty line that ends a head or a chunked body. If not, the beginning of
    /// another request follows it.
    pub(crate) fn are_empty_line(&self) -> bool {
        let [_, a, b, c] = self.0.load(Ordering::Relaxed).to_be_bytes();
        matches!([a, b, c], [b'\n', b'\r', b'\n'] | [_, b'\n', b'\n'])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_head_is_found_however_it_is_split() {
        let last = LastBytes::default();
        for pieces in [
            &["GET / HTTP/1.1\r\n\r\n"][..],
            &["GET / HTTP/1.1\r\n\r", "\n"],
            &["\n", "\r", "\n"],
            &["GET / HTTP/1.1\n\n"],
        ] {
            last.received(b"xxxx");
            for piece in pieces {
                last.received(piece.as_bytes());
            }
            assert!(last.are_empty_line(), "{pieces:?}");
        }
        last.received(b"\r\n\r\nGET / HT");
        assert!(!last.are_empty_line());
    }
}
