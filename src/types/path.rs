//! The request target in its one reading.

/// Which otherwise refused things a path may hold, for an application that needs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allow {
    /// `//` and a trailing empty segment in between.
    pub empty_segment: bool,
    /// `%2F` and `%5C`.
    pub encoded_slash: bool,
    /// `;`.
    pub semicolon: bool,
    /// `%80` to `%FF` are always fine; this admits raw bytes from 0x80.
    pub non_ascii: bool,
}

/// The allowances by path prefix; the longest matching prefix decides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allowances {
    /// For every path.
    pub everywhere: Allow,
    /// For paths under a prefix.
    pub by_prefix: Vec<(String, Allow)>,
}
