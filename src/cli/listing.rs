//! How is a list of any length written?

use std::io::{self, Write};

use serde::Serialize;

use crate::cli::error::CommandError;
use crate::cli::show;
use crate::cli::table::Columns;

/// A list that is being written.
pub(super) struct Listing<T> {
    /// The table; JSON when there is none.
    columns: Option<Columns>,
    row: fn(&T) -> Vec<String>,
    is_empty: bool,
}

impl<T: Serialize> Listing<T> {
    /// A table with these headings, or JSON.
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

    /// Writes a page.
    pub(super) fn page(&mut self, page: &[T], out: &mut dyn Write) -> Result<(), CommandError> {
        if page.is_empty() {
            return Ok(());
        }
        match &mut self.columns {
            Some(columns) => {
                let rows: Vec<_> = page.iter().map(self.row).collect();
                put(out, &format!("{}\n", columns.rows(&rows)))?;
                self.is_empty = false;
            }
            None => {
                for item in page {
                    let start = if self.is_empty { "[\n  " } else { ",\n  " };
                    let item = show::json(item)?.replace('\n', "\n  ");
                    put(out, &format!("{start}{item}"))?;
                    self.is_empty = false;
                }
            }
        }
        Ok(())
    }

    /// Ends the list. An empty table is replaced by `nothing`.
    pub(super) fn end(self, nothing: &str, out: &mut dyn Write) -> Result<(), CommandError> {
        let text = match (self.columns, self.is_empty) {
            (Some(_), true) => format!("{nothing}\n"),
            (Some(_), false) => String::new(),
            (None, true) => "[]\n".to_owned(),
            (None, false) => "\n]\n".to_owned(),
        };
        put(out, &text)?;
        out.flush().or_else(|error| ignore_closed_pipe(&error))
    }
}

fn put(out: &mut dyn Write, text: &str) -> Result<(), CommandError> {
    out.write_all(text.as_bytes())
        .or_else(|error| ignore_closed_pipe(&error))
}

/// A closed pipe (`| head`) is not an error; a full disk is.
fn ignore_closed_pipe(error: &io::Error) -> Result<(), CommandError> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(CommandError::Failed(format!(
            "cannot write the list: {error}"
        ))),
    }
}
