//! Is a request target unambiguous?
//!
//! A path is either clean, so that every application parses it in the same way, or it is refused.
//! Nothing is normalised: the path that was checked is forwarded byte for byte. Dot segments are
//! refused in every spelling and with every allowance.

mod bad;
mod scan;
#[cfg(test)]
mod tests;

pub use bad::BadPath;

/// The cases, refused by default, that an operator has allowed for an application that needs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "four switches that have nothing to do with each other"
)]
pub struct Allow {
    /// `//` and a trailing empty segment in between.
    pub empty_segment: bool,
    /// `%2F` and `%5C`.
    pub encoded_slash: bool,
    /// `;`.
    pub semicolon: bool,
    /// Raw bytes from 0x80. `%80` to `%FF` are always accepted.
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

impl Allowances {
    /// The allowance for this path: that of the longest prefix that ends at a segment boundary,
    /// compared byte for byte, otherwise the general one.
    pub fn at(&self, path: &str) -> Allow {
        self.by_prefix
            .iter()
            .filter(|(prefix, _)| is_under(path, prefix))
            .max_by_key(|(prefix, _)| prefix.len())
            .map_or(self.everywhere, |(_, allow)| *allow)
    }
}

/// Whether `path` is `prefix` itself or below it.
fn is_under(path: &str, prefix: &str) -> bool {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A path with exactly one reading, borrowed from the request target.
///
/// A path with a case that an operator has allowed has two readings: the *literal* one
/// ([`CleanPath::segments`]), and that of an application which splits at encoded slashes, removes parameters
/// after `;` and merges slashes ([`CleanPath::reduced`]). Neither contains a dot segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanPath<'a> {
    text: &'a str,
    is_ambiguous: bool,
}

impl<'a> CleanPath<'a> {
    /// The longest request target, query included, in bytes.
    pub const MAX_TARGET: usize = 8 * 1024;

    /// Checks the path of a request target, without its query.
    pub fn parse(path: &'a str, allowances: &Allowances) -> Result<Self, BadPath> {
        if path.len() > Self::MAX_TARGET {
            return Err(BadPath::TooLong);
        }
        if !path.starts_with('/') {
            return Err(BadPath::NotAbsolute);
        }
        let is_ambiguous = scan::scan(path, || allowances.at(path))?;
        let clean = Self {
            text: path,
            is_ambiguous,
        };
        if is_ambiguous {
            clean.check_reduced(allowances.at(path))?;
        }
        Ok(clean)
    }

    /// As [`CleanPath::parse`], from bytes that need not be text.
    pub fn parse_bytes(path: &'a [u8], allowances: &Allowances) -> Result<Self, BadPath> {
        let text = std::str::from_utf8(path).map_err(|_| BadPath::NonAscii)?;
        Self::parse(text, allowances)
    }

    /// Checks a whole target in origin form: the path, and the query after the first `?`. The query is opaque;
    /// only bytes that would end the request line or start a fragment are refused.
    pub fn parse_target(
        target: &'a str,
        allowances: &Allowances,
    ) -> Result<(Self, Option<&'a str>), BadPath> {
        if target.len() > Self::MAX_TARGET {
            return Err(BadPath::TooLong);
        }
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let query_bytes = query.unwrap_or_default().as_bytes();
        if query_bytes.contains(&b'#') {
            return Err(BadPath::Fragment);
        }
        if query_bytes.iter().any(|b| *b <= b' ' || *b == 0x7F) {
            return Err(BadPath::Control);
        }
        Ok((Self::parse(path, allowances)?, query))
    }

    /// The path as it was sent, which is how it is forwarded.
    pub const fn as_str(&self) -> &'a str {
        self.text
    }

    /// Whether the path contains a case that an operator has allowed, so that applications may read it in more
    /// than one way.
    pub const fn is_ambiguous(&self) -> bool {
        self.is_ambiguous
    }

    /// Whether the path ends with a slash; `/` itself does.
    pub fn has_trailing_slash(&self) -> bool {
        self.text.ends_with('/')
    }

    /// The segments as sent, without the empty one after a trailing slash: none for `/`, `a` and
    /// `b` for both `/a/b` and `/a/b/`.
    pub fn segments(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        let inner = self.text.strip_prefix('/').unwrap_or(self.text);
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        // Splitting an empty text gives one empty piece, which is not a segment.
        let skip = usize::from(inner.is_empty() && self.text.len() <= 1);
        inner.split('/').skip(skip)
    }

    /// The segments as an application reads them that treats `%2F` and `%5C` as slashes, cuts each
    /// segment at its first `;` and merges repeated slashes.
    pub fn reduced(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        scan::pieces(self.text)
            .map(scan::without_parameters)
            .filter(|piece| !piece.is_empty())
    }

    /// Checks the segments of the reduced reading, which the first pass does not see.
    fn check_reduced(&self, allow: Allow) -> Result<(), BadPath> {
        for literal in self.segments() {
            let parameters = literal.find(';').and_then(|at| literal.get(at..));
            if parameters.is_some_and(scan::has_encoded_slash) {
                return Err(BadPath::SlashInParameter);
            }
        }
        let mut pieces = scan::pieces(self.text).skip(1).peekable();
        let mut has_empty = false;
        while let Some(piece) = pieces.next() {
            let name = scan::without_parameters(piece);
            if matches!(name, "." | "..") {
                return Err(BadPath::DotSegment);
            }
            let is_trailing = piece.is_empty() && pieces.peek().is_none();
            has_empty |= name.is_empty() && !is_trailing;
        }
        if has_empty && !allow.empty_segment {
            return Err(BadPath::EmptySegment);
        }
        Ok(())
    }
}
