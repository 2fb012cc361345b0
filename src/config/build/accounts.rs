//! `[store]`, `[passwords]`, `[sessions]`, `[signup]`, `[login]`: what is remembered and who may
//! come in.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::build::desk::{DAY, Desk, MINUTE, secs};
use crate::config::build::tokens;
use crate::config::raw::{Login, Passwords, Raw, Sessions, Signup, Store};
use crate::crypto::settings::Settings as CryptoSettings;
use crate::rules::session::Limits;
use crate::service::settings::{Settings as ServiceSettings, SignupMode};
use crate::store::settings::{Engine, Settings as StoreSettings};
use crate::store::{Cap, LockPolicy, RotatePolicy, WhenFull};
use crate::tokens::settings::Settings as TokenSettings;
use crate::types::login::LoginKind;
use crate::types::role::Roles;

/// The store's settings.
pub(super) fn store(desk: &mut Desk<'_>, store: &Store, tokens: &TokenSettings) -> StoreSettings {
    let cache = desk.size("store.cache", &store.cache, (1 << 20)..=(64 << 30));
    StoreSettings {
        engine: engine(desk, &store.url, cache),
        deadline: desk.duration(
            "store.deadline",
            &store.deadline,
            Duration::from_millis(10)..=secs(MINUTE),
        ),
        revocation_life: tokens.access_ttl + tokens.leeway,
        audit_life: desk.duration(
            "store.audit_life",
            &store.audit_life,
            secs(DAY)..=secs(3_650 * DAY),
        ),
        lock_wait: desk.duration(
            "store.lock_wait",
            &store.lock_wait,
            Duration::ZERO..=secs(10 * MINUTE),
        ),
    }
}

/// The hasher's settings.
pub(super) fn crypto(desk: &mut Desk<'_>, passwords: &Passwords) -> CryptoSettings {
    let memory = desk.size(
        "passwords.memory",
        &passwords.memory,
        (64 << 10)..=(1 << 30),
    );
    let settings = CryptoSettings {
        memory_kib: u32::try_from(memory >> 10).unwrap_or(u32::MAX),
        iterations: desk.number("passwords.iterations", passwords.iterations, 1..=32),
        parallelism: desk.number("passwords.parallelism", passwords.parallelism, 1..=8),
        max_concurrent: desk.number("passwords.max_concurrent", passwords.max_concurrent, 1..=64)
            as usize,
    };
    if passwords.danger_weak_hash {
        desk.danger("passwords.danger_weak_hash");
    } else if !is_recommended(&settings) {
        desk.refuse_with(
            "passwords.memory",
            "passwords would be hashed too weakly",
            "the least are 46MiB with 1 iteration, 19MiB with 2, 12MiB with 3; \
             danger_weak_hash = true admits less",
        );
    }
    settings
}

/// The use cases' settings.
pub(super) fn service(desk: &mut Desk<'_>, raw: &Raw, tokens: &TokenSettings) -> ServiceSettings {
    let (sessions, cap) = sessions(desk, &raw.sessions);
    let (signup, signup_roles) = signup(desk, &raw.signup);
    ServiceSettings {
        signup,
        signup_roles,
        password_min_chars: desk.number("passwords.min_length", raw.passwords.min_length, 8..=128)
            as usize,
        identifiers: identifiers(desk, &raw.login),
        lock: lock(desk, &raw.login),
        sessions,
        cap,
        rotation: RotatePolicy {
            grace: tokens::rotation_grace(desk, &raw.tokens),
            max_ahead: MAX_AHEAD,
        },
        access_ttl: tokens.access_ttl,
    }
}

fn engine(desk: &mut Desk<'_>, url: &str, cache: u64) -> Engine {
    if url == "memory:" {
        return Engine::Memory;
    }
    let path = url.strip_prefix("sled:").unwrap_or_default();
    if url.starts_with("redis") {
        desk.refuse_with(
            "store.url",
            "this version keeps its state in sled or in memory; Redis comes later",
            "write \"sled:./data\"",
        );
    } else if path.is_empty() {
        desk.refuse_with(
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

fn sessions(desk: &mut Desk<'_>, sessions: &Sessions) -> (Limits, Cap) {
    let lives = secs(MINUTE)..=secs(3_650 * DAY);
    let full = [
        ("end_oldest", WhenFull::EndOldest),
        ("refuse", WhenFull::Refuse),
    ];
    let limits = Limits {
        lifetime: desk.duration("sessions.lifetime", &sessions.lifetime, lives.clone()),
        idle: desk.duration_or_none(
            "sessions.idle_timeout",
            &sessions.idle_timeout,
            lives.clone(),
        ),
        remembered: desk.duration(
            "sessions.remember_lifetime",
            &sessions.remember_lifetime,
            lives,
        ),
    };
    let cap = Cap {
        max: desk.number("sessions.max_per_user", sessions.max_per_user, 1..=1_000),
        when_full: desk
            .word("sessions.when_full", &sessions.when_full, &full)
            .unwrap_or(WhenFull::EndOldest),
    };
    (limits, cap)
}

fn signup(desk: &mut Desk<'_>, signup: &Signup) -> (SignupMode, Roles) {
    let modes = [("closed", SignupMode::Closed), ("open", SignupMode::Open)];
    // "verify" is known by name and refused with its own sentence.
    let mode = match signup.mode.as_str() {
        "verify" => None,
        mode => desk.word("signup.mode", mode, &modes),
    };
    let mut roles = Vec::new();
    for (index, role) in signup.roles.iter().enumerate() {
        match role.parse() {
            Ok(role) => roles.push(role),
            Err(error) => desk.refuse(
                &format!("signup.roles[{}]", index + 1),
                format!("{role:?} is no role: {error}"),
            ),
        }
    }
    let roles = Roles::new(roles).unwrap_or_else(|error| {
        desk.refuse("signup.roles", error.to_string());
        Roles::default()
    });
    (mode.unwrap_or(SignupMode::Closed), roles)
}

fn identifiers(desk: &mut Desk<'_>, login: &Login) -> Vec<LoginKind> {
    let kinds = [
        ("username", LoginKind::Username),
        ("email", LoginKind::Email),
        ("mobile", LoginKind::Mobile),
    ];
    let mut identifiers = Vec::new();
    for (index, word) in login.identifiers.iter().enumerate() {
        let key = format!("login.identifiers[{}]", index + 1);
        if let Some(kind) = desk.word(&key, word, &kinds)
            && !identifiers.contains(&kind)
        {
            identifiers.push(kind);
        }
    }
    if login.identifiers.is_empty() {
        desk.refuse_with(
            "login.identifiers",
            "nobody could log in",
            "name at least one of username, email, mobile",
        );
    }
    identifiers
}

fn lock(desk: &mut Desk<'_>, login: &Login) -> LockPolicy {
    let policy = LockPolicy {
        max_failures: desk.number("login.max_failures", login.max_failures, 0..=1_000),
        lock_for: desk.duration("login.lock_for", &login.lock_for, secs(1)..=secs(30 * DAY)),
    };
    if login.max_failures == 0 {
        desk.warn("login.max_failures = 0: wrong passwords never lock an account");
    }
    policy
}

/// How far a refresh token may be ahead of the store: only a restored copy of the store can make
/// that happen, and the token's MAC still proves that it was issued here.
const MAX_AHEAD: u32 = 8;
