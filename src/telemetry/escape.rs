//! The one place that decides which characters may appear in a log line. Both log formats, the
//! access log and the audit files use it.

use std::fmt::{self, Write};

/// Whether a character could end a line, control a terminal, hide, or change the direction in which
/// text is shown: control characters (C0, DEL, C1), line and paragraph separators, and invisible
/// format characters.
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Writes a character as `\u` and four hexadecimal digits, or as two of these when it is above U+FFFF, as in
/// JSON (RFC 8259, 7).
pub fn push_unit(out: &mut impl Write, c: char) -> fmt::Result {
    let mut units = [0u16; 2];
    for unit in c.encode_utf16(&mut units) {
        write!(out, "\\u{unit:04x}")?;
    }
    Ok(())
}

/// Writes text without unsafe characters. Quotation marks and backslashes stay as they are.
pub fn push_plain(out: &mut impl Write, text: &str) -> fmt::Result {
    if !text.chars().any(is_unsafe) {
        return out.write_str(text);
    }
    for c in text.chars() {
        if is_unsafe(c) {
            push_unit(out, c)?;
        } else {
            out.write_char(c)?;
        }
    }
    Ok(())
}

/// Writes text between quotation marks, as a JSON string without unsafe characters.
pub fn push_quoted(out: &mut impl Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            c if is_unsafe(c) => push_unit(out, c)?,
            c => out.write_char(c)?,
        }
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_quoted_text_survives_a_round_trip_and_has_no_unsafe_character(text in any::<String>()) {
            let mut quoted = String::new();
            push_quoted(&mut quoted, &text).unwrap();
            prop_assert!(!quoted.chars().any(is_unsafe));
            let read: String = serde_json::from_str(&quoted).unwrap();
            prop_assert_eq!(read, text);
        }

        #[test]
        fn a_plain_text_has_no_unsafe_character(text in any::<String>()) {
            let mut plain = String::new();
            push_plain(&mut plain, &text).unwrap();
            prop_assert!(!plain.chars().any(is_unsafe));
        }
    }

    #[test]
    fn line_breaks_and_bidirectional_controls_are_unsafe() {
        for c in
            "\0\n\r\t\u{1b}\u{7f}\u{80}\u{85}\u{9b}\u{9f}\u{2028}\u{2029}\u{202e}\u{2066}".chars()
        {
            assert!(is_unsafe(c), "{c:?}");
        }
        for c in " aÄ字😀\"\\=".chars() {
            assert!(!is_unsafe(c), "{c:?}");
        }
    }
}
