//! What does a line of a CSV file contain? Fields as in RFC 4180, except that none extends over several lines.

use crate::control::import::{BadLine, HeaderError, ImportRecord, filled};
use crate::types::secret::SecretText;

/// The columns of a file, in its order.
#[derive(Debug, Default)]
pub(super) struct Columns(Vec<&'static str>);

/// The names of all columns.
const KNOWN: [&str; 6] = ["username", "email", "mobile", "name", "roles", HASH];
const HASH: &str = "password_hash";

impl Columns {
    pub(super) fn parse(header: &str) -> Result<Self, HeaderError> {
        let mut columns: Vec<&'static str> = Vec::new();
        for (index, field) in fields(header)
            .map_err(HeaderError::Line)?
            .iter()
            .enumerate()
        {
            let known = KNOWN.into_iter().find(|known| *known == field.trim());
            let known = known.ok_or(HeaderError::Unknown(index.saturating_add(1)))?;
            if columns.contains(&known) {
                return Err(HeaderError::Twice(known));
            }
            columns.push(known);
        }
        if !columns.contains(&HASH) {
            return Err(HeaderError::NoHash);
        }
        if !["username", "email", "mobile"]
            .iter()
            .any(|login| columns.contains(login))
        {
            return Err(HeaderError::NoLogin);
        }
        Ok(Self(columns))
    }

    pub(super) fn account(&self, line: &str) -> Result<ImportRecord, BadLine> {
        let fields = fields(line)?;
        if fields.len() != self.0.len() {
            return Err(BadLine::Fields {
                found: fields.len(),
                expected: self.0.len(),
            });
        }
        let field = |name: &str| {
            let at = self.0.iter().position(|column| *column == name)?;
            fields.get(at).and_then(|text| filled(text))
        };
        let roles = field("roles").unwrap_or_default();
        Ok(ImportRecord {
            line: 0,
            username: field("username"),
            email: field("email"),
            mobile: field("mobile"),
            name: field("name"),
            roles: roles
                .split([' ', ',', ';'])
                .filter(|role| !role.is_empty())
                .map(str::to_owned)
                .collect(),
            password_hash: SecretText::new(field(HASH).unwrap_or_default()),
        })
    }
}

/// The fields of a line. A quoted field ends on its line: otherwise one missing quote would swallow the file.
pub(super) fn fields(line: &str) -> Result<Vec<String>, BadLine> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_field(quoted)?
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let (field, after) = rest.split_at(end);
            if field.contains('"') {
                return Err(BadLine::Quotes);
            }
            (field.to_owned(), after)
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(fields),
            None => return Err(BadLine::Quotes),
        }
    }
}

/// The text up to the closing quote, and what follows. Two quotes stand for one.
fn quoted_field(text: &str) -> Result<(String, &str), BadLine> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"').ok_or(BadLine::Quotes)?;
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Ok((field, after)),
        }
    }
}
