//! `[sessions]`, `[signup]`, `[login]` to the settings of the use cases.

use crate::config::build::reader::Reader;
use crate::config::keys::{login, passwords, sessions, signup, tokens};
use crate::config::tree::item;
use crate::rules::names::Reserved;
use crate::rules::session::Limits;
use crate::service::settings::{Settings, SignupMode};
use crate::store::{Cap, LockPolicy, RotatePolicy, WhenFull};
use crate::tokens::settings::Settings as TokenSettings;
use crate::types::language::Language;
use crate::types::login::LoginKind;
use crate::types::role::Roles;

/// The use cases' settings.
pub(super) fn build(
    reader: &mut Reader<'_>,
    issued: &TokenSettings,
    mail: Option<Language>,
) -> Settings {
    let (sessions, cap) = sessions(reader);
    let reserved = Reserved::new(reader.get(&signup::RESERVED));
    Settings {
        // A refused mode is closed.
        signup: reader.get(&signup::MODE).unwrap_or(SignupMode::Closed),
        signup_roles: signup_roles(reader),
        reserved,
        password_min_chars: reader.get(&passwords::MIN_LENGTH) as usize,
        identifiers: identifiers(reader),
        lock: lock(reader),
        sessions,
        cap,
        rotation: RotatePolicy {
            grace: reader.get(&tokens::ROTATION_GRACE),
            max_ahead: MAX_AHEAD,
        },
        mail,
        access_ttl: issued.access_ttl,
    }
}

fn sessions(reader: &mut Reader<'_>) -> (Limits, Cap) {
    let limits = Limits {
        lifetime: reader.get(&sessions::LIFETIME),
        idle: reader.get(&sessions::IDLE_TIMEOUT),
        remembered: reader.get(&sessions::REMEMBER_LIFETIME),
    };
    let cap = Cap {
        max: reader.get(&sessions::MAX_PER_USER),
        when_full: reader
            .get(&sessions::WHEN_FULL)
            .unwrap_or(WhenFull::EndOldest),
    };
    (limits, cap)
}

fn signup_roles(reader: &mut Reader<'_>) -> Roles {
    let key = signup::ROLES.path();
    let mut roles = Vec::new();
    for (index, role) in reader.get(&signup::ROLES).into_iter().enumerate() {
        match role.parse() {
            Ok(role) => roles.push(role),
            Err(error) => reader.refuse(&item(key, index), format!("{role:?} is no role: {error}")),
        }
    }
    Roles::new(roles).unwrap_or_else(|error| {
        reader.refuse(key, error.to_string());
        Roles::default()
    })
}

fn identifiers(reader: &mut Reader<'_>) -> Vec<LoginKind> {
    let key = login::IDENTIFIERS.path();
    let words = reader.get(&login::IDENTIFIERS);
    let mut identifiers = Vec::new();
    for (index, word) in words.iter().enumerate() {
        if let Some(kind) = reader.word(&item(key, index), word, &IDENTIFIERS)
            && !identifiers.contains(&kind)
        {
            identifiers.push(kind);
        }
    }
    if words.is_empty() {
        reader.refuse_with(
            key,
            "no user could log in",
            "name at least one of username, email, mobile",
        );
    }
    identifiers
}

fn lock(reader: &mut Reader<'_>) -> LockPolicy {
    let policy = LockPolicy {
        max_failures: reader.get(&login::MAX_FAILURES),
        lock_for: reader.get(&login::LOCK_FOR),
    };
    if policy.max_failures == 0 {
        reader.warn("login.max_failures = 0: wrong passwords never lock an account");
    }
    policy
}

const IDENTIFIERS: [(&str, LoginKind); 3] = [
    ("username", LoginKind::Username),
    ("email", LoginKind::Email),
    ("mobile", LoginKind::Mobile),
];

/// How far a refresh token may be ahead of the store: only a restored copy of the store can make
/// that happen, and the token's MAC still proves that it was issued here.
const MAX_AHEAD: u32 = 8;
