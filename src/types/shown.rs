//! Which text can be displayed next to other text, such as the name of a person or of a device?

/// Returns the text, unless a character in it changes how it, or the text around it, is displayed.
///
/// Trimmed; empty counts as missing.
pub fn shown(text: &str) -> Result<Option<String>, Deceptive> {
    let trimmed = text.trim();
    if trimmed.contains(is_deceptive) {
        return Err(Deceptive);
    }
    Ok((!trimmed.is_empty()).then(|| trimmed.to_owned()))
}

/// Control characters, line and paragraph separators, marks that change the direction of text, and
/// invisible characters. The joiners stay: some scripts need them.
fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Text that cannot be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must not hold control or invisible characters")]
pub struct Deceptive;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_reorder_hide_or_break_lines_are_refused() {
        for bad in [
            "a\nb",
            "a\u{1b}[31m",
            "a\u{202e}b",
            "a\u{2028}b",
            "a\u{200b}b",
            "a\u{feff}b",
        ] {
            assert_eq!(shown(bad), Err(Deceptive), "{bad:?}");
        }
        for good in [
            "Ann",
            "J\u{f6}rg von B",
            "\u{645}\u{6cc}\u{200c}\u{62e}",
            "\u{1f469}\u{200d}\u{1f52c}",
        ] {
            assert_eq!(shown(&format!(" {good} ")), Ok(Some(good.to_owned())));
        }
        assert_eq!(shown("  "), Ok(None));
    }
}
