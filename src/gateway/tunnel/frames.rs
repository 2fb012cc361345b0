//! Where do the frames of a WebSocket begin and end (RFC 6455, 5.2)? Their heads alone determine it; payloads
//! are not inspected. Sidegate can send a frame of its own only between two frames.

/// One direction of a WebSocket.
#[derive(Debug, Default)]
pub struct Frames {
    /// The head that is being read.
    head: [u8; MAX_HEAD],
    read: usize,
    /// Bytes of payload that are not yet received.
    payload: u64,
    closed: bool,
}

impl Frames {
    /// Advances over bytes that were forwarded.
    pub fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let passed = usize::try_from(self.payload)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                self.payload -= passed as u64;
                bytes = bytes.get(passed..).unwrap_or_default();
                continue;
            }
            if let Some((place, byte)) = self.head.get_mut(self.read).zip(bytes.first()) {
                *place = *byte;
            }
            self.read += 1;
            bytes = bytes.get(1..).unwrap_or_default();
            if self.read >= self.wanted() {
                self.begin();
            }
        }
    }

    /// Whether the last frame is complete, so that another may follow.
    pub fn is_between(&self) -> bool {
        self.payload == 0 && self.read == 0
    }

    /// Whether a close frame was forwarded. No frame may follow it.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// The length of the head, as far as the bytes read so far determine it.
    fn wanted(&self) -> usize {
        if self.read < 2 {
            return 2;
        }
        let second = self.head.get(1).copied().unwrap_or_default();
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        let length = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + mask
    }

    /// Begins the frame whose head is complete.
    fn begin(&mut self) {
        let [first, second, rest @ ..] = &self.head;
        self.closed |= first & 0x0f == CLOSE;
        let number = |bytes: &[u8]| bytes.iter().fold(0, |n, b| (n << 8) | u64::from(*b));
        self.payload = match second & 0x7f {
            126 => number(rest.get(..2).unwrap_or_default()),
            127 => number(rest.get(..8).unwrap_or_default()),
            small => u64::from(small),
        };
        self.read = 0;
    }
}

/// A close frame as a server sends it: unmasked.
pub fn close(code: u16, reason: &str) -> Vec<u8> {
    let mut frame = Vec::with_capacity(4 + reason.len());
    frame.extend([0x80 | CLOSE, payload_length(reason)]);
    frame.extend(code.to_be_bytes());
    frame.extend(reason.as_bytes());
    frame
}

/// A close frame as a client sends it: masked, with a mask that changes nothing.
pub fn masked_close(code: u16, reason: &str) -> Vec<u8> {
    let mut frame = close(code, reason);
    if let Some(second) = frame.get_mut(1) {
        *second |= 0x80;
    }
    frame.splice(2..2, [0; 4]);
    frame
}

/// A reason is one of ours and short: control frames carry at most 125 bytes.
fn payload_length(reason: &str) -> u8 {
    u8::try_from(2 + reason.len()).unwrap_or(125)
}

/// The opcode of a close frame.
const CLOSE: u8 = 8;
/// The longest head: two bytes, eight of length, four of mask.
const MAX_HEAD: usize = 14;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(opcode: u8, masked: bool, length: usize) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x80 | opcode];
        let bytes = (length as u64).to_be_bytes();
        match length {
            0..126 => frame.push(mask | bytes[7]),
            126..65_536 => {
                frame.push(mask | 0x7e);
                frame.extend(&bytes[6..]);
            }
            _ => {
                frame.push(mask | 0x7f);
                frame.extend(bytes);
            }
        }
        if masked {
            frame.extend([1, 2, 3, 4]);
        }
        frame.extend(std::iter::repeat_n(0x88, length));
        frame
    }

    proptest! {
        #[test]
        fn frame_boundaries_are_found_for_any_split(
            sizes in prop::collection::vec((0..8_u8, any::<bool>(), prop_oneof![0..130_usize, Just(126), Just(65_535), Just(65_536), 0..70_000_usize]), 1..6),
            cut in 1..5_000_usize,
        ) {
            let mut frames = Frames::default();
            let mut borders = Vec::new();
            let mut stream = Vec::new();
            for (opcode, masked, length) in sizes {
                stream.extend(frame(opcode, masked, length));
                borders.push(stream.len());
            }
            let mut passed = 0;
            for piece in stream.chunks(cut) {
                frames.advance(piece);
                passed += piece.len();
                prop_assert_eq!(frames.is_between(), borders.contains(&passed));
            }
            prop_assert!(!frames.is_closed());
        }

        #[test]
        fn any_bytes_parse_without_a_panic(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..32)) {
            let mut frames = Frames::default();
            for piece in pieces {
                frames.advance(&piece);
            }
        }
    }

    #[test]
    fn a_close_frame_is_detected_and_one_inside_a_payload_is_not() {
        let mut frames = Frames::default();
        frames.advance(&frame(2, false, 300));
        assert!(!frames.is_closed());
        frames.advance(&close(1000, ""));
        assert!(frames.is_closed() && frames.is_between());
    }

    #[test]
    fn generated_close_frames_are_valid() {
        assert_eq!(close(1008, "bye"), b"\x88\x05\x03\xf0bye");
        let masked = masked_close(1008, "bye");
        assert_eq!(masked, b"\x88\x85\0\0\0\0\x03\xf0bye");
        let mut frames = Frames::default();
        frames.advance(&masked);
        assert!(frames.is_closed() && frames.is_between());
    }
}
