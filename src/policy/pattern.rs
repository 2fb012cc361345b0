//! A rule's path: exact, `*` for one segment, a trailing `/**` for any depth.

use crate::policy::BadRule;
use crate::types::path::{Allowances, BadPath, CleanPath};

/// A path pattern, taken apart.
#[derive(Debug)]
pub(super) struct Pattern {
    pieces: Vec<Piece>,
    tail: Tail,
}

#[derive(Debug)]
enum Piece {
    /// One segment that is not empty.
    Any,
    /// This one.
    Literal {
        /// As written.
        exact: String,
        /// Decoded, in lower case.
        folded: Vec<u8>,
    },
}

/// The part after the pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    /// Nothing.
    End,
    /// A slash.
    Slash,
    /// Anything: `/**`.
    AnyDepth,
}

impl Pattern {
    /// Reads a pattern. Apart from its wildcards it must be a path that could be requested.
    pub(super) fn parse(text: &str) -> Result<Self, BadRule> {
        if text.is_empty() {
            return Err(BadPath::NotAbsolute.into());
        }
        let (inner, tail) = match (text, text.strip_suffix("/**")) {
            (_, Some(before)) => (before, Tail::AnyDepth),
            (_, None) => match text.strip_suffix('/') {
                Some(before) => (before, Tail::Slash),
                None => (text, Tail::End),
            },
        };
        let whole = if inner.is_empty() { "/" } else { inner };
        let allowances = Allowances::default();
        let path = CleanPath::parse(whole, &allowances)?;
        if path.has_trailing_slash() && !inner.is_empty() {
            return Err(BadPath::EmptySegment.into());
        }
        let pieces = path
            .segments()
            .map(Piece::parse)
            .collect::<Result<_, _>>()?;
        Ok(Self { pieces, tail })
    }

    /// Whether a path whose first decoded byte in lower case is this one (none: `/`) may match.
    pub(super) fn may_start_with(&self, first: Option<u8>) -> bool {
        match (self.pieces.first(), first) {
            (Some(Piece::Literal { folded, .. }), Some(byte)) => folded.first() == Some(&byte),
            (Some(Piece::Any), Some(_)) | (None, None) => true,
            (Some(_), None) => false,
            (None, Some(_)) => self.tail == Tail::AnyDepth,
        }
    }

    /// Whether the pattern matches: strictly for open rules, generously for restrictive ones.
    pub(super) fn matches(&self, path: &CleanPath<'_>, is_open: bool) -> bool {
        if is_open {
            return self.fits_slash(path)
                && self.fits(path.segments(), Piece::is_exactly)
                && (!path.is_ambiguous() || self.fits(path.reduced(), Piece::is_exactly));
        }
        self.fits(path.segments(), Piece::is_like)
            || (path.is_ambiguous() && self.fits(path.reduced(), Piece::is_like))
    }

    /// Whether the path ends like the pattern, with or without a slash.
    fn fits_slash(&self, path: &CleanPath<'_>) -> bool {
        match self.tail {
            Tail::End => !path.has_trailing_slash(),
            Tail::Slash => path.has_trailing_slash(),
            Tail::AnyDepth => true,
        }
    }

    fn fits<'a>(
        &self,
        mut segments: impl Iterator<Item = &'a str>,
        is_one: impl Fn(&Piece, &str) -> bool,
    ) -> bool {
        let mut pieces = self.pieces.iter();
        let all = pieces.all(|piece| segments.next().is_some_and(|s| is_one(piece, s)));
        all && (self.tail == Tail::AnyDepth || segments.next().is_none())
    }
}

impl Piece {
    fn parse(segment: &str) -> Result<Self, BadRule> {
        match segment {
            "*" => Ok(Self::Any),
            other if other.contains('*') => Err(BadRule::Wildcard),
            other => Ok(Self::Literal {
                exact: other.to_owned(),
                folded: folded(other).collect(),
            }),
        }
    }

    fn is_exactly(&self, segment: &str) -> bool {
        match self {
            Self::Any => !segment.is_empty(),
            Self::Literal { exact, .. } => exact == segment,
        }
    }

    fn is_like(&self, segment: &str) -> bool {
        match self {
            Self::Any => !segment.is_empty(),
            Self::Literal { folded: own, .. } => folded(segment).eq(own.iter().copied()),
        }
    }
}

/// The bytes of a segment, decoded once, ASCII letters in lower case. Only ASCII is folded, because
/// applications differ in how they fold other letters.
fn folded(segment: &str) -> impl Iterator<Item = u8> {
    let mut bytes = segment.bytes();
    std::iter::from_fn(move || {
        let byte = bytes.next()?;
        if byte != b'%' {
            return Some(byte.to_ascii_lowercase());
        }
        let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
        let (high, low) = (digit()?, digit()?);
        u8::try_from(high * 16 + low)
            .ok()
            .map(|b| b.to_ascii_lowercase())
    })
}

/// The first byte of the path's first segment, as restrictive rules compare it; none for `/`.
pub(super) fn first_byte(path: &CleanPath<'_>) -> Option<u8> {
    path.segments()
        .next()
        .and_then(|first| folded(first).next())
}
