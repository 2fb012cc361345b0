//! Is a frame or header block of HTTP/2 incomplete (RFC 9113, 4.1)?
//!
//! h2 has no timeout for an incomplete frame, nor for a header block that continues in CONTINUATION frames. So
//! the bytes are counted here as they arrive. The deadline is in `state`.

const HEADER: usize = 9;
const PREFACE: usize = 24;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;
const END_HEADERS: u8 = 0x4;

/// The position in a client's stream of frames.
#[derive(Debug)]
pub(crate) struct FrameWatch {
    /// Bytes of the preface, and later of the current frame's payload, that have not arrived.
    left: usize,
    header: [u8; HEADER],
    have: usize,
    in_block: bool,
    in_data: bool,
}

/// The state after a piece of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Whether a frame, or a header block, is incomplete. A DATA frame does not count, because `body_rate`
    /// checks the rate of a body.
    pub(crate) partial: bool,
    /// Whether a frame outside a header block, or a header block, ended within this piece.
    pub(crate) progress: bool,
}

impl FrameWatch {
    /// The position before the client's first byte.
    pub(crate) fn new() -> Self {
        Self {
            left: PREFACE,
            header: [0; HEADER],
            have: HEADER,
            in_block: false,
            in_data: false,
        }
    }

    /// Advances over the next bytes.
    pub(crate) fn see(&mut self, mut bytes: &[u8]) -> Seen {
        let mut progress = false;
        loop {
            let take = self.left.min(bytes.len());
            self.left -= take;
            bytes = bytes.get(take..).unwrap_or_default();
            if self.left == 0 && self.have == HEADER {
                self.have = 0;
                self.in_data = false;
                progress |= !self.in_block;
            }
            if bytes.is_empty() {
                break;
            }
            for (slot, byte) in self.header.iter_mut().skip(self.have).zip(bytes) {
                *slot = *byte;
            }
            let took = (HEADER - self.have).min(bytes.len());
            self.have += took;
            bytes = bytes.get(took..).unwrap_or_default();
            if self.have == HEADER {
                self.begin();
            }
        }
        let within = self.have > 0 && !self.in_data;
        Seen {
            partial: self.in_block || within,
            progress,
        }
    }

    fn begin(&mut self) {
        let [a, b, c, kind, flags, ..] = self.header;
        self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        self.in_data = kind == DATA;
        if matches!(kind, HEADERS | CONTINUATION) {
            self.in_block = flags & END_HEADERS == 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        frame.resize(HEADER + payload, b'x');
        frame
    }

    fn begun() -> FrameWatch {
        let mut frames = FrameWatch::new();
        frames.see(&[b'x'; PREFACE]);
        frames
    }

    #[test]
    fn a_header_block_is_partial_until_its_last_frame() {
        let mut frames = begun();
        assert!(frames.see(&frame(HEADERS, 0, 30)).partial);
        assert!(frames.see(&frame(CONTINUATION, 0, 0)).partial);
        let last = frames.see(&frame(CONTINUATION, END_HEADERS, 5));
        assert_eq!((last.partial, last.progress), (false, true));
    }

    #[test]
    fn continuations_are_no_progress() {
        let mut frames = begun();
        frames.see(&frame(HEADERS, 0, 1));
        for _ in 0..100 {
            assert!(!frames.see(&frame(CONTINUATION, 0, 1)).progress);
        }
    }

    #[test]
    fn a_frame_that_is_cut_is_partial_unless_it_is_data() {
        for (kind, partial) in [(HEADERS, true), (DATA, false), (4, true)] {
            let mut frames = begun();
            let bytes = frame(kind, END_HEADERS, 30);
            assert_eq!(frames.see(&bytes[..20]).partial, partial, "{kind}");
            assert!(!frames.see(&bytes[20..]).partial);
        }
    }

    #[test]
    fn a_preface_that_is_cut_is_partial() {
        let mut frames = FrameWatch::new();
        assert!(frames.see(b"PRI * HTTP").partial);
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_give_the_same_result(
            kinds in proptest::collection::vec((0u8..10, 0u8..8, 0usize..60), 0..20),
            cuts in proptest::collection::vec(1usize..40, 1..40),
        ) {
            let bytes: Vec<u8> = kinds.iter().flat_map(|(k, f, n)| frame(*k, *f, *n)).collect();
            let mut whole = begun();
            let expected = whole.see(&bytes).partial;
            let mut pieces = begun();
            let mut seen = Seen { partial: false, progress: false };
            let mut rest = &bytes[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                seen = pieces.see(piece);
                rest = after;
            }
            prop_assert_eq!(seen.partial, expected);
        }
    }
}
