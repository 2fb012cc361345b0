//! What does a line of an htpasswd file contain? `name:hash`.

use crate::control::import::{BadLine, ImportRecord, filled};
use crate::types::secret::SecretText;

/// The name before the colon is a username, or an e-mail address if it contains an `@`.
pub(super) fn account(text: &str) -> Result<ImportRecord, BadLine> {
    let (name, hash) = text.split_once(':').ok_or(BadLine::NoColon)?;
    // Some programs append further fields.
    let hash = hash.split(':').next().unwrap_or_default();
    let (username, email) = if name.contains('@') {
        (None, filled(name))
    } else {
        (filled(name), None)
    };
    Ok(ImportRecord {
        line: 0,
        username,
        email,
        mobile: None,
        name: None,
        roles: Vec::new(),
        password_hash: SecretText::new(hash.trim()),
    })
}
