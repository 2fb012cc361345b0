//! How is a reply printed, as text or JSON?

use serde::Serialize;

use crate::cli::error::CommandError;
use crate::cli::table::{clean, facts, table};
use crate::control::reply::{AuditFiles, AuditView, KeyView, SessionView, UserView};

/// Pretty JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Result<String, CommandError> {
    serde_json::to_string_pretty(value).map_err(|e| CommandError::Failed(e.to_string()))
}

/// One account.
pub(super) fn user(user: &UserView) -> String {
    let mut pairs = vec![
        ("id", user.id.clone()),
        ("username", or_dash(user.username.as_ref())),
        ("email", address(user.email.as_ref(), user.email_verified)),
        (
            "mobile",
            address(user.mobile.as_ref(), user.mobile_verified),
        ),
        ("name", or_dash(user.name.as_ref())),
        ("roles", roles(user)),
        ("status", status(user)),
        ("created", user.created_at.clone()),
        ("changed", user.updated_at.clone()),
    ];
    pairs.retain(|(_, value)| value != "-");
    facts(&pairs)
}

/// Headings of a list of accounts.
pub(super) const USERS: &[&str] = &["ID", "USERNAME", "EMAIL", "MOBILE", "ROLES", "STATUS"];

/// The text for an empty list of accounts.
pub(super) const NO_USERS: &str = "no users; add one with: sidegate users add NAME";

/// One account in a list.
pub(super) fn user_row(user: &UserView) -> Vec<String> {
    vec![
        user.id.clone(),
        or_dash(user.username.as_ref()),
        or_dash(user.email.as_ref()),
        or_dash(user.mobile.as_ref()),
        roles(user),
        status(user),
    ]
}

/// Headings of a list of sessions.
pub(super) const SESSIONS: &[&str] = &[
    "ID",
    "USER",
    "DEVICE",
    "ADDRESS",
    "SINCE",
    "LAST ACTIVE",
    "ENDS",
];

/// The text for an empty list of sessions.
pub(super) const NO_SESSIONS: &str = "no live sessions";

/// One session in a list.
pub(super) fn session_row(session: &SessionView) -> Vec<String> {
    vec![
        session.id.clone(),
        session
            .username
            .clone()
            .unwrap_or_else(|| session.user_id.clone()),
        or_dash(session.device_name.as_ref()),
        or_dash(session.ip_address.as_ref()),
        session.created_at.clone(),
        session.last_active_at.clone(),
        session.expires_at.clone(),
    ]
}

/// Signing keys.
pub(super) fn keys(keys: &[KeyView]) -> String {
    if keys.is_empty() {
        return "no keys; the server makes them at its first start".to_owned();
    }
    let rows: Vec<Vec<String>> = keys
        .iter()
        .map(|key| {
            vec![
                key.id.clone(),
                key.purpose.clone(),
                key.algorithm.clone(),
                key.state.clone(),
                key.created_at.clone(),
            ]
        })
        .collect();
    table(&["ID", "PURPOSE", "ALGORITHM", "STATE", "CREATED"], &rows)
}

/// Audit records.
pub(super) fn audit(records: &[AuditView]) -> String {
    if records.is_empty() {
        return "no audit records".to_owned();
    }
    let rows: Vec<Vec<String>> = records
        .iter()
        .map(|record| {
            vec![
                record.at.clone(),
                record.action.clone(),
                match record.count {
                    Some(count) => format!("{} ({count})", record.outcome),
                    None => record.outcome.clone(),
                },
                record.actor.clone(),
                or_dash(record.user_id.as_ref()),
                or_dash(record.session_id.as_ref()),
                or_dash(record.ip_address.as_ref()),
                or_dash(record.request_id.as_ref()),
            ]
        })
        .collect();
    table(
        &[
            "AT", "ACTION", "OUTCOME", "ACTOR", "USER", "SESSION", "ADDRESS", "REQUEST",
        ],
        &rows,
    )
}

/// The state of the audit files.
pub(super) fn audit_files(files: &AuditFiles) -> String {
    let mut lines = vec![format!(
        "{} records in {} files ({} bytes), {} faults",
        files.records, files.files, files.bytes, files.fault_count
    )];
    lines.extend(files.faults.iter().map(|fault| clean(fault)));
    let more = files.fault_count.saturating_sub(files.faults.len() as u64);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

fn or_dash(text: Option<&String>) -> String {
    text.filter(|t| !t.is_empty())
        .map_or_else(|| "-".to_owned(), Clone::clone)
}

/// An address, marked when it is not verified.
fn address(text: Option<&String>, is_verified: bool) -> String {
    let shown = or_dash(text);
    if is_verified || shown == "-" {
        shown
    } else {
        format!("{shown} (not verified)")
    }
}

fn roles(user: &UserView) -> String {
    if user.roles.is_empty() {
        "-".to_owned()
    } else {
        user.roles.join(",")
    }
}

fn status(user: &UserView) -> String {
    match &user.locked_until {
        Some(until) => format!("{}, locked until {until}", user.status),
        None => user.status.clone(),
    }
}
