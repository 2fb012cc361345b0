//! Lists of any length, written page by page.

use std::io::Write;

use serde::Serialize;

use crate::cli::table::Columns;
use crate::cli::{Trouble, show, tell};

/// A list that is being written.
pub(super) struct Listing<T> {
    /// The table; JSON when there is none.
    columns: Option<Columns>,
    row: fn(&T) -> Vec<String>,
    is_empty: bool,
}

impl<T: Serialize> Listing<T> {
    /// A list with these headings, or of JSON.
    pub(super) fn new(
        json: bool,
        headings: &'static [&'static str],
        row: fn(&T) -> Vec<String>,
    ) -> Self {
        Self {
            columns: (!json).then(|| Columns::new(headings)),
            row,
            is_empty: true,
        }
    }

    /// Writes one more page.
    pub(super) fn page(&mut self, page: &[T], out: &mut dyn Write) -> Result<(), Trouble> {
        if page.is_empty() {
            return Ok(());
        }
        match &mut self.columns {
            Some(columns) => {
                let rows: Vec<_> = page.iter().map(self.row).collect();
                tell(out, &columns.rows(&rows));
                self.is_empty = false;
            }
            None => {
                for item in page {
                    let start = if self.is_empty { "[\n  " } else { ",\n  " };
                    let item = show::json(item)?.replace('\n', "\n  ");
                    drop(write!(out, "{start}{item}"));
                    self.is_empty = false;
                }
            }
        }
        Ok(())
    }

    /// Ends the list; an empty one is told with these words.
    pub(super) fn end(self, nothing: &str, out: &mut dyn Write) -> Result<(), Trouble> {
        match (self.columns, self.is_empty) {
            (Some(_), true) => tell(out, nothing),
            (Some(_), false) => {}
            (None, true) => tell(out, "[]"),
            (None, false) => tell(out, "\n]"),
        }
        Ok(())
    }
}
