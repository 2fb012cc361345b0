//! Under which key is each record stored? In one key space, with a table tag of one byte in front.
//!
//! ```text
//! tag  rest of the key                              record
//! S    route(16) session(16)                        StoredSession
//! I    session(16) route(16)                        (nothing: finds the route of a session)
//! A    tenant user(16)                              User
//! L    tenant kind(1) sha256(name)(32)              UserId
//! F    tenant kind(1) sha256(name)(32)              StoredLockout: a name without an account
//! F    tenant 'a' user(16)                          StoredLockout: an account
//! D    tenant user(16) device(16)                   StoredDevice
//! C    challenge(16)                                StoredChallenge
//! Q    moment(8) mail(16)                           StoredMail: due at that moment
//! R    route(16) session(16)                        StoredRevocation
//! U    moment(8) number(8)                          AuditRecord
//! V    route(16) moment(8) number(8)                (nothing: finds the audit records of a user)
//! X    moment(8) key of the record                  (nothing: when to examine that record)
//! M    name                                         store-wide records
//! ```
//!
//! `tenant` is one length byte and the name. `route` is the hash of tenant and user, so equal user and
//! session ids of two tenants have different keys. Numbers are big-endian, so keys sort by number.
//!
//! Every S, F, D, C and R record has exactly one X entry, at a moment that is stored in the record. A
//! moment that moves with each use (an idle limit) is not updated on each use: the sweep examines the
//! record at that moment and moves the entry.

use crate::crypto::digest::sha256;
use crate::model::session::SessionKey;
use crate::model::user::UserKey;
use crate::store::embedded::ledger::KeyRange;
use crate::store::{ChallengeId, LoginKey, MailId, Route};
use crate::types::ids::{DeviceId, SessionId, TenantId, UserId};
use crate::types::time::Timestamp;

/// Table tag of sessions.
pub(crate) const SESSION: u8 = b'S';
/// Table tag of failure counters.
pub(crate) const LOCKOUT: u8 = b'F';
/// Table tag of devices.
pub(crate) const DEVICE: u8 = b'D';
/// Table tag of challenges.
pub(crate) const CHALLENGE: u8 = b'C';
/// Table tag of mails that wait for their delivery.
pub(crate) const MAIL: u8 = b'Q';
/// Table tag of revocations.
pub(crate) const REVOCATION: u8 = b'R';
/// Table tag of the index of sessions by id.
pub(crate) const SESSION_INDEX: u8 = b'I';
/// Table tag of accounts.
pub(crate) const ACCOUNT: u8 = b'A';
/// Table tag of login names.
pub(crate) const LOGIN: u8 = b'L';
/// Table tag of audit records.
pub(crate) const AUDIT: u8 = b'U';
/// Table tag of the index of audit records by user.
pub(crate) const AUDIT_INDEX: u8 = b'V';
/// Table tag of expiry entries.
pub(crate) const EXPIRY: u8 = b'X';

/// The number of this layout, checked at every open.
pub(crate) const META_FORMAT: &[u8] = b"Mformat";
/// The number of the last commit and the digest of all other records.
pub(crate) const META_COMMIT: &[u8] = b"Mcommit";
/// The identity of the store.
pub(crate) const META_STORE: &[u8] = b"Mstore";
/// The totals of the store.
pub(crate) const META_TOTALS: &[u8] = b"Mtotals";
/// The last end of all sessions.
pub(crate) const META_END_ALL: &[u8] = b"Mend-all";
/// The time that the store has reached. Time never starts before it again.
pub(crate) const META_CLOCK: &[u8] = b"Mclock";
/// How many accounts there are with each parameter set of password hashes.
pub(crate) const META_COSTS: &[u8] = b"Mcosts";
/// The secret by which logins without an account are assigned a parameter set.
pub(crate) const META_DECOY: &[u8] = b"Mdecoy";
/// The number of mails that wait for their delivery.
pub(crate) const META_MAILS: &[u8] = b"Mmails";
/// Written by a health check.
pub(crate) const META_CHECK: &[u8] = b"Mcheck";

/// The key of a session.
pub(crate) fn session(route: Route, id: SessionId) -> Vec<u8> {
    join(SESSION, &[&route.0, id.as_bytes()])
}

/// The key of the session with this session key.
pub(crate) fn session_of(key: &SessionKey) -> Vec<u8> {
    session(Route::of(&key.owner), key.id)
}

/// The time at which the session with this key was made.
pub(crate) fn session_made_at(key: &[u8]) -> Option<Timestamp> {
    let id = key.strip_prefix(&[SESSION])?.get(16..)?;
    Some(SessionId::from_bytes(id.try_into().ok()?).made_at())
}

/// All sessions of a user.
pub(crate) fn sessions_of(route: Route) -> KeyRange {
    KeyRange::prefix(&join(SESSION, &[&route.0]))
}

/// All sessions.
pub(crate) fn sessions() -> KeyRange {
    KeyRange::prefix(&[SESSION])
}

/// The index entry from a session id to its route.
pub(crate) fn session_index(id: SessionId, route: Route) -> Vec<u8> {
    join(SESSION_INDEX, &[id.as_bytes(), &route.0])
}

/// All index entries of a session id. More than one only if tenants share the id.
pub(crate) fn session_index_of(id: SessionId) -> KeyRange {
    KeyRange::prefix(&join(SESSION_INDEX, &[id.as_bytes()]))
}

/// The key of the session that an index entry points to.
pub(crate) fn indexed_session(entry: &[u8]) -> Option<Vec<u8>> {
    let (id, route) = entry.strip_prefix(&[SESSION_INDEX])?.split_at_checked(16)?;
    Some(join(SESSION, &[route, id]))
}

/// The key of an account.
pub(crate) fn account(key: &UserKey) -> Vec<u8> {
    account_at(&key.tenant, key.user)
}

/// The key of the account of a user of a tenant.
pub(crate) fn account_at(tenant: &TenantId, user: UserId) -> Vec<u8> {
    join(ACCOUNT, &[&tenant_part(tenant), user.as_bytes()])
}

/// All accounts.
pub(crate) fn accounts() -> KeyRange {
    KeyRange::prefix(&[ACCOUNT])
}

/// All accounts of a tenant.
pub(crate) fn accounts_of(tenant: &TenantId) -> KeyRange {
    KeyRange::prefix(&join(ACCOUNT, &[&tenant_part(tenant)]))
}

/// The entry from a login name to its account.
pub(crate) fn login(login: &LoginKey) -> Vec<u8> {
    named(LOGIN, login)
}

/// The key of the failure counter of a login name without an account. Earlier versions used it for
/// accounts, too.
pub(crate) fn lockout(login: &LoginKey) -> Vec<u8> {
    named(LOCKOUT, login)
}

/// The key of the failure counter of an account. No kind of login has the tag `a`.
pub(crate) fn account_lockout(key: &UserKey) -> Vec<u8> {
    let tenant = tenant_part(&key.tenant);
    join(LOCKOUT, &[&tenant, b"a", key.user.as_bytes()])
}

/// The key of a device of an account.
pub(crate) fn device(key: &UserKey, device: DeviceId) -> Vec<u8> {
    let tenant = tenant_part(&key.tenant);
    join(DEVICE, &[&tenant, key.user.as_bytes(), device.as_bytes()])
}

/// All devices of an account.
pub(crate) fn devices_of(key: &UserKey) -> KeyRange {
    let tenant = tenant_part(&key.tenant);
    KeyRange::prefix(&join(DEVICE, &[&tenant, key.user.as_bytes()]))
}

/// The key of a challenge.
pub(crate) fn challenge(id: ChallengeId) -> Vec<u8> {
    join(CHALLENGE, &[&id.0])
}

/// The key of a mail.
pub(crate) fn mail(due_at: Timestamp, id: MailId) -> Vec<u8> {
    join(MAIL, &[&moment(due_at), &id.0])
}

/// All mails.
pub(crate) fn mails() -> KeyRange {
    KeyRange::prefix(&[MAIL])
}

/// The mails that are due.
pub(crate) fn mails_due(now: Timestamp) -> KeyRange {
    KeyRange {
        from: vec![MAIL],
        to: join(MAIL, &[&now.as_millis().saturating_add(1).to_be_bytes()]),
    }
}

/// The moment and the id in the key of a mail.
pub(crate) fn mail_parts(key: &[u8]) -> Option<(Timestamp, MailId)> {
    let (moment, id) = key.strip_prefix(&[MAIL])?.split_first_chunk::<8>()?;
    let at = Timestamp::from_millis(u64::from_be_bytes(*moment));
    Some((at, MailId(id.try_into().ok()?)))
}

/// The key of the revocation of a session.
pub(crate) fn revocation(route: Route, id: SessionId) -> Vec<u8> {
    join(REVOCATION, &[&route.0, id.as_bytes()])
}

/// All revocations of the sessions of a user.
pub(crate) fn revocations_of(route: Route) -> KeyRange {
    KeyRange::prefix(&join(REVOCATION, &[&route.0]))
}

/// The whole revocation log.
pub(crate) fn revocations() -> KeyRange {
    KeyRange::prefix(&[REVOCATION])
}

/// The key of an audit record.
pub(crate) fn audit(at: Timestamp, number: u64) -> Vec<u8> {
    join(AUDIT, &[&moment(at), &number.to_be_bytes()])
}

/// The number of an audit record, from its key.
pub(crate) fn audit_number(line: &[u8]) -> Option<u64> {
    let (_moment, number) = line.strip_prefix(&[AUDIT])?.split_at_checked(8)?;
    Some(u64::from_be_bytes(number.try_into().ok()?))
}

/// All audit records.
pub(crate) fn audits() -> KeyRange {
    KeyRange::prefix(&[AUDIT])
}

/// The audit records from before a moment.
pub(crate) fn audits_before(at: Timestamp) -> KeyRange {
    KeyRange {
        from: vec![AUDIT],
        to: join(AUDIT, &[&moment(at)]),
    }
}

/// The index entry that finds an audit record by its user.
pub(crate) fn audit_index(route: Route, at: Timestamp, number: u64) -> Vec<u8> {
    join(AUDIT_INDEX, &[&route.0, &moment(at), &number.to_be_bytes()])
}

/// All index entries of a user.
pub(crate) fn audit_index_of(route: Route) -> KeyRange {
    KeyRange::prefix(&join(AUDIT_INDEX, &[&route.0]))
}

/// The key of the audit record that an index entry points to.
pub(crate) fn indexed_audit(entry: &[u8]) -> Option<Vec<u8>> {
    let (_route, line) = entry.strip_prefix(&[AUDIT_INDEX])?.split_at_checked(16)?;
    Some(join(AUDIT, &[line]))
}

/// The index entry of an audit record of a user.
pub(crate) fn audit_index_at(route: Route, line: &[u8]) -> Option<Vec<u8>> {
    let rest = line.strip_prefix(&[AUDIT])?;
    Some(join(AUDIT_INDEX, &[&route.0, rest]))
}

/// The entry with the time at which a record is examined.
pub(crate) fn expiry(at: Timestamp, record: &[u8]) -> Vec<u8> {
    join(EXPIRY, &[&moment(at), record])
}

/// The entries whose time has come.
pub(crate) fn expired(now: Timestamp) -> KeyRange {
    KeyRange {
        from: vec![EXPIRY],
        to: join(EXPIRY, &[&now.as_millis().saturating_add(1).to_be_bytes()]),
    }
}

/// The key of the record that an expiry entry belongs to.
pub(crate) fn expiring(entry: &[u8]) -> Option<&[u8]> {
    let (_moment, record) = entry.strip_prefix(&[EXPIRY])?.split_at_checked(8)?;
    Some(record)
}

fn named(tag: u8, login: &LoginKey) -> Vec<u8> {
    let name = sha256(&[login.login.as_str().as_bytes()]);
    let kind = [login.login.kind().tag()];
    join(tag, &[&tenant_part(&login.tenant), &kind, &name])
}

fn tenant_part(tenant: &TenantId) -> Vec<u8> {
    let name = tenant.as_str().as_bytes();
    // A tenant name has at most 64 bytes, so its length fits.
    let mut part = vec![u8::try_from(name.len()).unwrap_or(u8::MAX)];
    part.extend_from_slice(name);
    part
}

fn moment(at: Timestamp) -> [u8; 8] {
    at.as_millis().to_be_bytes()
}

fn join(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(tag);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::login::LoginName;

    fn tenant(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    #[test]
    fn no_tenant_is_the_prefix_of_another() {
        let user = UserId::from_bytes([b'x'; 16]);
        let key = account_at(&tenant("ab"), user);
        let short = accounts_of(&tenant("a"));
        assert!(!(short.from..short.to).contains(&key));
        let own = accounts_of(&tenant("ab"));
        assert!((own.from..own.to).contains(&key));
    }

    #[test]
    fn the_same_text_as_two_kinds_of_login_is_two_keys() {
        let key = |login| {
            super::login(&LoginKey {
                tenant: tenant("a"),
                login,
            })
        };
        let name = LoginName::username("49301234567").unwrap();
        let mobile = LoginName::mobile("+49301234567").unwrap();
        assert_ne!(key(name), key(mobile));
    }

    #[test]
    fn an_entry_due_this_very_millisecond_is_due() {
        let at = Timestamp::from_millis(5_000);
        let key = expiry(at, b"Sxyz");
        let due = |now| {
            let range = expired(now);
            (range.from..range.to).contains(&key)
        };
        assert!(due(at));
        assert!(!due(Timestamp::from_millis(4_999)));
        assert_eq!(expiring(&key), Some(b"Sxyz".as_slice()));
    }

    #[test]
    fn index_entries_point_to_their_record() {
        let route = Route([1; 16]);
        let id = SessionId::from_bytes([2; 16]);
        assert_eq!(
            indexed_session(&session_index(id, route)),
            Some(session(route, id))
        );
        let at = Timestamp::from_millis(9);
        let line = audit(at, 7);
        let entry = audit_index(route, at, 7);
        assert_eq!(indexed_audit(&entry), Some(line.clone()));
        assert_eq!(audit_index_at(route, &line), Some(entry));
    }
}
