//! How is a table printed, and why can its content not control the terminal?
//!
//! Columns are aligned. Text from outside (device names, addresses, names) is printed without control
//! characters.

/// Formats rows below their headings. The last column is not padded.
pub(super) fn table(headings: &'static [&'static str], rows: &[Vec<String>]) -> String {
    Columns::new(headings).rows(rows)
}

/// A table that is formatted in parts. A column never becomes narrower.
pub(super) struct Columns {
    headings: &'static [&'static str],
    widths: Vec<usize>,
    is_begun: bool,
}

impl Columns {
    /// An empty table.
    pub(super) fn new(headings: &'static [&'static str]) -> Self {
        Self {
            headings,
            widths: headings.iter().map(|h| h.chars().count()).collect(),
            is_begun: false,
        }
    }

    /// Formats further rows. The first call includes the headings.
    pub(super) fn rows(&mut self, rows: &[Vec<String>]) -> String {
        let mut lines: Vec<Vec<String>> = Vec::with_capacity(rows.len() + 1);
        if !self.is_begun {
            lines.push(self.headings.iter().map(|h| (*h).to_owned()).collect());
            self.is_begun = true;
        }
        lines.extend(
            rows.iter()
                .map(|row| row.iter().map(|cell| clean(cell)).collect()),
        );
        for row in &lines {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let lines: Vec<String> = lines
            .iter()
            .map(|row| {
                let cells: Vec<String> = row
                    .iter()
                    .zip(&self.widths)
                    .map(|(cell, width)| format!("{cell:width$}"))
                    .collect();
                cells.join("  ").trim_end().to_owned()
            })
            .collect();
        lines.join("\n")
    }
}

/// Formats names and values, one pair per line.
pub(super) fn facts(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name:width$}  {}", clean(value)))
        .collect();
    lines.join("\n")
}

/// Replaces the characters that control a terminal: control characters, and those that change the writing
/// direction.
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
    fn no_cell_contains_terminal_control_characters() {
        let rows = [vec!["\u{1b}[2Jx\u{9b}31m\n\u{202e}y".to_owned()]];
        let shown = table(&["a"], &rows);
        assert_eq!(shown.lines().count(), 2, "one heading, one row");
        assert!(!shown.contains(['\u{1b}', '\u{9b}', '\u{202e}']));
    }
}
