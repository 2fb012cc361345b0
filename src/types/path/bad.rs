//! Why is a path refused? Each reason has the text of the response.

/// Why a path is refused. The text is sent to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadPath {
    /// The target is longer than the limit.
    #[error("the request target is longer than 8 KiB")]
    TooLong,
    /// It does not begin with a slash.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// Two slashes in a row, or a segment that is empty once its parameters are cut off.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// A `.` or `..` segment in any spelling.
    #[error("the path has a dot segment")]
    DotSegment,
    /// A raw backslash.
    #[error("the path has a backslash")]
    Backslash,
    /// A raw semicolon.
    #[error("the path has a semicolon")]
    Semicolon,
    /// A raw control byte or space.
    #[error("the path has a control character or a space")]
    Control,
    /// A raw quotation mark.
    #[error("the path has a quotation mark")]
    Quote,
    /// A raw byte outside ASCII.
    #[error("the path has a raw byte outside ASCII; it must be percent-encoded")]
    NonAscii,
    /// A raw number sign.
    #[error("the request target has a fragment")]
    Fragment,
    /// A raw question mark where only a path may be.
    #[error("the path has a question mark")]
    QuestionMark,
    /// A percent sign without two hexadecimal digits.
    #[error("the path has a broken percent escape")]
    BrokenEscape,
    /// `%2F` or `%5C`.
    #[error("the path has an encoded slash or backslash")]
    EncodedSlash,
    /// `%2E`.
    #[error("the path has an encoded dot")]
    EncodedDot,
    /// `%3B`.
    #[error("the path has an encoded semicolon")]
    EncodedSemicolon,
    /// `%25`: a second decoding would give another path.
    #[error("the path has an encoded percent sign")]
    EncodedPercent,
    /// `%3F` or `%23`.
    #[error("the path has an encoded question mark or number sign")]
    EncodedDelimiter,
    /// `%00` to `%1F` and `%7F`.
    #[error("the path has an encoded control character")]
    EncodedControl,
    /// A UTF-8 sequence longer than its character needs: a lenient decoder could read a dot or a slash.
    #[error("the path has an overlong UTF-8 sequence")]
    Overlong,
    /// An encoded slash after a `;`: parsers differ on whether it is a separator.
    #[error("the path has an encoded slash in a parameter")]
    SlashInParameter,
}
