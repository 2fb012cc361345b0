//! `[store]`, `[passwords]`, `[sessions]`, `[signup]`, `[login]`: what is remembered and who may
//! come in.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::build::reader::{DAY, MINUTE, Reader, secs};
use crate::config::build::tokens;
use crate::config::raw::{Login, Passwords, Raw, Sessions, Signup, Store};
use crate::crypto::settings::Settings as CryptoSettings;
use crate::rules::names::Reserved;
use crate::rules::session::Limits;
use crate::service::settings::{Settings as ServiceSettings, SignupMode};
use crate::store::settings::{Engine, Settings as StoreSettings};
use crate::store::{Cap, LockPolicy, RotatePolicy, WhenFull};
use crate::tokens::settings::Settings as TokenSettings;
use crate::types::login::LoginKind;
use crate::types::role::Roles;

/// The store's settings.
pub(super) fn store(
    reader: &mut Reader<'_>,
    store: &Store,
    tokens: &TokenSettings,
) -> StoreSettings {
    let cache = reader.size("store.cache", &store.cache, (1 << 20)..=(64 << 30));
    StoreSettings {
        engine: engine(reader, &store.url, cache),
        deadline: reader.duration(
            "store.deadline",
            &store.deadline,
            Duration::from_millis(10)..=secs(MINUTE),
        ),
        revocation_life: tokens.access_ttl + tokens.leeway,
        // Follows from `audit.keep`.
        audit_life: Duration::ZERO,
        lock_wait: reader.duration(
            "store.lock_wait",
            &store.lock_wait,
            Duration::ZERO..=secs(10 * MINUTE),
        ),
    }
}

/// The hasher's settings.
pub(super) fn crypto(reader: &mut Reader<'_>, passwords: &Passwords) -> CryptoSettings {
    let memory = reader.size(
        "passwords.memory",
        &passwords.memory,
        (64 << 10)..=(1 << 30),
    );
    let settings = CryptoSettings {
        memory_kib: u32::try_from(memory >> 10).unwrap_or(u32::MAX),
        iterations: reader.number("passwords.iterations", passwords.iterations, 1..=32),
        parallelism: reader.number("passwords.parallelism", passwords.parallelism, 1..=8),
        max_concurrent: reader.number("passwords.max_concurrent", passwords.max_concurrent, 1..=64)
            as usize,
    };
    if passwords.danger_weak_hash {
        reader.danger("passwords.danger_weak_hash");
    } else if !is_recommended(&settings) {
        reader.refuse_with(
            "passwords.memory",
            "passwords would be hashed too weakly",
            "the least are 46MiB with 1 iteration, 19MiB with 2, 12MiB with 3; \
             danger_weak_hash = true admits less",
        );
    }
    settings
}

/// The use cases' settings.
pub(super) fn service(
    reader: &mut Reader<'_>,
    raw: &Raw,
    tokens: &TokenSettings,
) -> ServiceSettings {
    let (sessions, cap) = sessions(reader, &raw.sessions);
    let reserved = Reserved::new(raw.signup.reserved.iter().map(String::as_str));
    let (signup, signup_roles) = signup(reader, &raw.signup);
    ServiceSettings {
        signup,
        signup_roles,
        reserved,
        password_min_chars: reader.number("passwords.min_length", raw.passwords.min_length, 8..=128)
            as usize,
        identifiers: identifiers(reader, &raw.login),
        lock: lock(reader, &raw.login),
        sessions,
        cap,
        rotation: RotatePolicy {
            grace: tokens::rotation_grace(reader, &raw.tokens),
            max_ahead: MAX_AHEAD,
        },
        access_ttl: tokens.access_ttl,
    }
}

fn engine(reader: &mut Reader<'_>, url: &str, cache: u64) -> Engine {
    if url == "memory:" {
        return Engine::Memory;
    }
    let path = url.strip_prefix("sled:").unwrap_or_default();
    if url.starts_with("redis") {
        reader.refuse_with(
            "store.url",
            "this version keeps its state in sled or in memory; Redis comes later",
            "write \"sled:./data\"",
        );
    } else if path.is_empty() {
        reader.refuse_with(
            "store.url",
            "is no store",
            "write \"sled:\" and a directory, such as \"sled:./data\", or \"memory:\"",
        );
    }
    Engine::Sled {
        path: PathBuf::from(path),
        cache,
    }
}

/// The least costs of Argon2id that OWASP recommends: each row is as strong as the others.
fn is_recommended(settings: &CryptoSettings) -> bool {
    let least_mib = match settings.iterations {
        0 => return false,
        1 => 46,
        2 => 19,
        _ => 12,
    };
    settings.memory_kib >= least_mib << 10
}

fn sessions(reader: &mut Reader<'_>, sessions: &Sessions) -> (Limits, Cap) {
    let lives = secs(MINUTE)..=secs(3_650 * DAY);
    let full = [
        ("end_oldest", WhenFull::EndOldest),
        ("refuse", WhenFull::Refuse),
    ];
    let limits = Limits {
        lifetime: reader.duration("sessions.lifetime", &sessions.lifetime, lives.clone()),
        idle: reader.duration_or_none(
            "sessions.idle_timeout",
            &sessions.idle_timeout,
            lives.clone(),
        ),
        remembered: reader.duration(
            "sessions.remember_lifetime",
            &sessions.remember_lifetime,
            lives,
        ),
    };
    let cap = Cap {
        max: reader.number("sessions.max_per_user", sessions.max_per_user, 1..=1_000),
        when_full: reader
            .word("sessions.when_full", &sessions.when_full, &full)
            .unwrap_or(WhenFull::EndOldest),
    };
    (limits, cap)
}

fn signup(reader: &mut Reader<'_>, signup: &Signup) -> (SignupMode, Roles) {
    let modes = [("closed", SignupMode::Closed), ("open", SignupMode::Open)];
    // "verify" is known by name and refused with its own sentence.
    let mode = match signup.mode.as_str() {
        "verify" => None,
        mode => reader.word("signup.mode", mode, &modes),
    };
    let mut roles = Vec::new();
    for (index, role) in signup.roles.iter().enumerate() {
        match role.parse() {
            Ok(role) => roles.push(role),
            Err(error) => reader.refuse(
                &format!("signup.roles[{}]", index + 1),
                format!("{role:?} is no role: {error}"),
            ),
        }
    }
    let roles = Roles::new(roles).unwrap_or_else(|error| {
        reader.refuse("signup.roles", error.to_string());
        Roles::default()
    });
    (mode.unwrap_or(SignupMode::Closed), roles)
}

fn identifiers(reader: &mut Reader<'_>, login: &Login) -> Vec<LoginKind> {
    let kinds = [
        ("username", LoginKind::Username),
        ("email", LoginKind::Email),
        ("mobile", LoginKind::Mobile),
    ];
    let mut identifiers = Vec::new();
    for (index, word) in login.identifiers.iter().enumerate() {
        let key = format!("login.identifiers[{}]", index + 1);
        if let Some(kind) = reader.word(&key, word, &kinds)
            && !identifiers.contains(&kind)
        {
            identifiers.push(kind);
        }
    }
    if login.identifiers.is_empty() {
        reader.refuse_with(
            "login.identifiers",
            "nobody could log in",
            "name at least one of username, email, mobile",
        );
    }
    identifiers
}

fn lock(reader: &mut Reader<'_>, login: &Login) -> LockPolicy {
    let policy = LockPolicy {
        max_failures: reader.number("login.max_failures", login.max_failures, 0..=1_000),
        lock_for: reader.duration("login.lock_for", &login.lock_for, secs(1)..=secs(30 * DAY)),
    };
    if login.max_failures == 0 {
        reader.warn("login.max_failures = 0: wrong passwords never lock an account");
    }
    policy
}

/// How far a refresh token may be ahead of the store: only a restored copy of the store can make
/// that happen, and the token's MAC still proves that it was issued here.
const MAX_AHEAD: u32 = 8;
