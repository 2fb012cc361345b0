//! How does a test make random choices that a seed repeats?

use sidegate::types::random::SeededRandom;

/// A pseudo-random generator.
#[derive(Debug)]
pub(crate) struct Dice(SeededRandom);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SeededRandom::new(seed))
    }

    /// A number below this one, which must not be zero.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("a size");
        usize::try_from(self.0.next() % end).expect("a size")
    }

    /// True once in this many times.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).expect("a byte")
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// Damages bytes in one way at one place.
    pub(crate) fn damage(&mut self, bytes: &mut Vec<u8>) {
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
