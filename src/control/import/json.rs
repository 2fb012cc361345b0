//! What does a line of JSON contain? An object whose members are those of the CSV columns.

use serde::Deserialize;

use crate::control::import::{BadLine, ImportRecord, filled};
use crate::types::secret::SecretText;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    mobile: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
    password_hash: SecretText,
}

/// The error text of the JSON library may contain a value, so it is not used.
pub(super) fn account(text: &str) -> Result<ImportRecord, BadLine> {
    // The library would take a list for an object with its members in this order.
    if text.trim_start().starts_with('[') {
        return Err(BadLine::Members);
    }
    let members: Members = serde_json::from_str(text).map_err(|error| {
        if error.is_data() {
            BadLine::Members
        } else {
            BadLine::Json(error.column())
        }
    })?;
    let some = |text: Option<String>| text.as_deref().and_then(filled);
    Ok(ImportRecord {
        line: 0,
        username: some(members.username),
        email: some(members.email),
        mobile: some(members.mobile),
        name: some(members.name),
        roles: members.roles,
        password_hash: SecretText::new(members.password_hash.expose().trim()),
    })
}
