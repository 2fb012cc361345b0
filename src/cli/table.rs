//! Aligned columns. Whatever came from outside (device names, addresses, names) is shown without
//! its control characters, so that it cannot drive the operator's terminal.

/// Rows under headings; the last column is not padded.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        std::iter::once(headings.iter().map(|h| (*h).to_owned()).collect())
            .chain(
                rows.iter()
                    .map(|row| row.iter().map(|c| clean(c)).collect()),
            )
            .collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

/// Names and values, one pair a line.
pub(super) fn facts(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name:width$}  {}", clean(value)))
        .collect();
    lines.join("\n")
}

/// Text without characters that a terminal obeys: controls, and the marks that turn the direction
/// of writing.
pub(super) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            c if c.is_control() => '\u{fffd}',
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                '\u{fffd}'
            }
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_characters() {
        let rows = [
            vec!["ä".to_owned(), "one".to_owned()],
            vec!["long".to_owned(), "two".to_owned()],
        ];
        assert_eq!(table(&["a", "b"], &rows), "a     b\nä     one\nlong  two");
    }

    #[test]
    fn no_cell_can_drive_a_terminal() {
        let rows = [vec!["\u{1b}[2Jx\u{9b}31m\n\u{202e}y".to_owned()]];
        let shown = table(&["a"], &rows);
        assert_eq!(shown.lines().count(), 2, "one heading, one row");
        assert!(!shown.contains(['\u{1b}', '\u{9b}', '\u{202e}']));
    }
}
