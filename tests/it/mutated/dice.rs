//! Chance that can be repeated: the same seed, the same bytes.

/// A generator (splitmix64).
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one, which is not zero.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("a size");
        usize::try_from(self.next() % end).expect("a size")
    }

    /// True once in so many times.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(super) fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).expect("a byte")
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// Changes bytes: one kind of damage at one place.
    pub(super) fn damage(&mut self, bytes: &mut Vec<u8>) {
        const ODD: &[&[u8]] = &[
            b"\r",
            b"\n",
            b"\0",
            b"\t",
            b" ",
            b":",
            b";",
            b",",
            b"\r\n",
            b"\r\n\r\n",
            b"\x80",
            b"\xff",
            b"0",
            b"\r\n ",
            b"%",
            b"\"",
            b"\x7f",
        ];
        if bytes.is_empty() {
            return;
        }
        let at = self.below(bytes.len());
        let until = (at + 1 + self.below(12)).min(bytes.len());
        match self.below(6) {
            0 => bytes[at] ^= 1 << self.below(8),
            1 => bytes[at] = self.byte(),
            2 => drop(bytes.drain(at..until)),
            3 => {
                let copy = bytes[at..until].to_vec();
                let to = self.below(bytes.len());
                bytes.splice(to..to, copy);
            }
            4 => {
                let odd = self.pick(ODD).to_vec();
                bytes.splice(at..at, odd);
            }
            _ => bytes.truncate(at),
        }
    }
}
