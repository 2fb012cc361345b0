//! An audit record as one line of JSON:
//!
//! ```text
//! {"n":17,"at":"2026-11-22T16:07:00.000Z","action":"login",..,"sum":"1f2e3d4c"}
//! ```
//!
//! `n` counts the lines of a series without a gap. `sum` is the CRC-32 of everything in front of
//! `,"sum"`. Both find damage and lost lines. Neither protects against a user who may write the files.

use std::fmt::{Display, Write as _};
use std::time::{Duration, UNIX_EPOCH};

use serde::Deserialize;

use crate::model::audit::{Actor, AuditAction, AuditRecord};
use crate::telemetry::escape::push_quoted;
use crate::types::time::Timestamp;

/// The longest line, in bytes.
pub(super) const MAX_LINE: usize = 8 * 1024;

/// The longest text that is written whole, in bytes.
const MAX_TEXT: usize = 1024;

/// A record with its place in a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Numbered {
    /// Its number.
    pub number: u64,
    /// The number that it had in the store of an earlier version.
    pub from: Option<u64>,
    /// The record.
    pub record: AuditRecord,
}

/// Appends a line.
pub(super) fn push(out: &mut Vec<u8>, line: &Numbered) {
    let text = text_of(line);
    let sum = crc32fast::hash(text.as_bytes());
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(format!(",\"sum\":\"{sum:08x}\"}}\n").as_bytes());
}

/// A line up to its checksum. Writing into a string cannot fail.
fn text_of(line: &Numbered) -> String {
    let AuditRecord {
        at,
        action,
        outcome,
        tenant,
        user,
        session,
        actor,
        address,
        request_id,
        count,
    } = &line.record;
    let mut out = format!("{{\"n\":{}", line.number);
    put(&mut out, "at", Some(at));
    put(&mut out, "action", Some(action.as_str()));
    put(&mut out, "outcome", Some(outcome));
    put(&mut out, "tenant", Some(tenant));
    put(&mut out, "user", user.as_ref());
    put(&mut out, "session", session.as_ref());
    put(&mut out, "actor", Some(actor.as_str()));
    put(&mut out, "address", address.as_ref());
    put(&mut out, "requestId", request_id.as_ref());
    for (name, number) in [("count", count), ("from", &line.from)] {
        if let Some(number) = number {
            write!(out, ",\"{name}\":{number}").ok();
        }
    }
    out
}

fn put(out: &mut String, name: &str, value: Option<impl Display>) {
    let Some(value) = value else { return };
    let mut text = value.to_string();
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    write!(out, ",\"{name}\":").ok();
    push_quoted(out, &text).ok();
}

/// Parses a line, without its line end.
///
/// # Errors
/// Why it is not a line of the audit log.
pub(super) fn parse(line: &[u8]) -> Result<Numbered, BadLine> {
    let (_, text) = check(line)?;
    read_record(text)
}

/// Compares the checksum of a line, without its line end. Returns its number and its text.
///
/// # Errors
/// Why it is not a line of the audit log.
pub(super) fn check(line: &[u8]) -> Result<(u64, &str), BadLine> {
    if line.len() > MAX_LINE {
        return Err(BadLine::TooLong);
    }
    let text = std::str::from_utf8(line).map_err(|_| BadLine::Checksum)?;
    let (signed, sum) = text.rsplit_once(",\"sum\":\"").ok_or(BadLine::Checksum)?;
    let sum = sum.strip_suffix("\"}").ok_or(BadLine::Checksum)?;
    // Compared as text: one checksum has one spelling.
    if sum != format!("{:08x}", crc32fast::hash(signed.as_bytes())) {
        return Err(BadLine::Checksum);
    }
    let number = signed.strip_prefix("{\"n\":").and_then(|rest| {
        let (number, _) = rest.split_once(',')?;
        number.parse().ok()
    });
    Ok((number.ok_or(BadLine::Form)?, text))
}

/// Reads a line that [`check`] has passed.
///
/// # Errors
/// [`BadLine::Form`].
pub(super) fn read_record(text: &str) -> Result<Numbered, BadLine> {
    let parts: Parts = serde_json::from_str(text).map_err(|_| BadLine::Form)?;
    parts.read().ok_or(BadLine::Form)
}

/// Why a line cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    /// It was changed or cut.
    #[error("a line was altered or cut: its checksum does not fit")]
    Checksum,
    /// The checksum is right, but the content is not a record.
    #[error("a line is no audit record of this version")]
    Form,
    /// It is longer than any line of the log.
    #[error("a line is too long")]
    TooLong,
}

/// The members of a line.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parts {
    n: u64,
    at: String,
    action: AuditAction,
    outcome: String,
    tenant: String,
    user: Option<String>,
    session: Option<String>,
    actor: Actor,
    address: Option<String>,
    request_id: Option<String>,
    count: Option<u64>,
    from: Option<u64>,
}

impl Parts {
    fn read(self) -> Option<Numbered> {
        let at = humantime::parse_rfc3339(&self.at).ok()?;
        let at: Duration = at.duration_since(UNIX_EPOCH).ok()?;
        let record = AuditRecord {
            at: Timestamp::from_millis(u64::try_from(at.as_millis()).ok()?),
            action: self.action,
            outcome: self.outcome,
            tenant: self.tenant.parse().ok()?,
            user: read(self.user)?,
            session: read(self.session)?,
            actor: self.actor,
            address: read(self.address)?,
            request_id: self.request_id,
            count: self.count,
        };
        Some(Numbered {
            number: self.n,
            from: self.from,
            record,
        })
    }
}

/// Parses an optional value. `None` if the value is present and cannot be parsed.
#[expect(clippy::option_option, reason = "absent and unreadable are two things")]
fn read<T: std::str::FromStr>(text: Option<String>) -> Option<Option<T>> {
    match text {
        Some(text) => text.parse().ok().map(Some),
        None => Some(None),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::ids::{SessionId, UserId};

    fn any_record() -> impl Strategy<Value = AuditRecord> {
        let ids = (any::<Option<[u8; 16]>>(), any::<Option<[u8; 16]>>());
        let texts = (".{0,40}", prop::option::of(".{0,40}"));
        let rest = (any::<Option<std::net::IpAddr>>(), any::<Option<u64>>());
        let at = 0..253_402_300_799_999u64;
        (at, ids, texts, rest).prop_map(|(at, (user, session), (outcome, id), (address, count))| {
            AuditRecord {
                at: Timestamp::from_millis(at),
                action: AuditAction::Login,
                outcome,
                tenant: "acme".parse().unwrap(),
                user: user.map(UserId::from_bytes),
                session: session.map(SessionId::from_bytes),
                actor: Actor::Caller,
                address,
                request_id: id,
                count,
            }
        })
    }

    proptest! {
        #[test]
        fn a_record_survives_a_round_trip(
            record in any_record(), number: u64, from: Option<u64>
        ) {
            let line = Numbered { number, from, record };
            let mut bytes = Vec::new();
            push(&mut bytes, &line);
            let body = bytes.strip_suffix(b"\n").unwrap();
            prop_assert!(body.len() <= MAX_LINE);
            let text = std::str::from_utf8(body).unwrap();
            prop_assert!(!text.chars().any(crate::telemetry::escape::is_unsafe));
            prop_assert_eq!(parse(body), Ok(line));
        }

        #[test]
        fn a_line_with_a_flipped_bit_is_not_a_record(
            record in any_record(), at: prop::sample::Index, bit in 0..8u8
        ) {
            let mut bytes = Vec::new();
            push(&mut bytes, &Numbered { number: 7, from: None, record });
            bytes.pop();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(parse(&bytes).is_err());
        }

        #[test]
        fn reading_a_line_of_any_bytes_ends(bytes: Vec<u8>) {
            prop_assert!(parse(&bytes).is_err());
        }
    }

    #[test]
    fn the_bytes_of_a_line_are_unchanged() {
        let record = AuditRecord {
            at: Timestamp::from_millis(1_700_000_000_123),
            action: AuditAction::Login,
            outcome: "wrong_password".to_owned(),
            tenant: "acme".parse().unwrap(),
            user: Some(UserId::from_bytes([0x11; 16])),
            session: None,
            actor: Actor::Caller,
            address: Some("192.0.2.7".parse().unwrap()),
            request_id: Some("r-1".to_owned()),
            count: None,
        };
        let mut bytes = Vec::new();
        push(
            &mut bytes,
            &Numbered {
                number: 17,
                from: None,
                record,
            },
        );
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "{\"n\":17,\"at\":\"2023-11-14T22:13:20.123Z\",\"action\":\"login\",\
             \"outcome\":\"wrong_password\",\"tenant\":\"acme\",\
             \"user\":\"11111111-1111-1111-1111-111111111111\",\"actor\":\"caller\",\
             \"address\":\"192.0.2.7\",\"requestId\":\"r-1\",\"sum\":\"d422e36a\"}\n"
        );
    }
}
