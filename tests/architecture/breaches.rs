//! Which rules does a source file break?

use crate::law::{Law, May};
use crate::scan::{
    crate_uses, is_word, line_of, module_of, our_paths, without_literals, without_tests, words,
};

/// The values that settings consist of; `config` names them to build the settings.
pub(crate) const SETTINGS_PARTS: &[&str] = &[
    "limits::Quota",
    "rules::names::Reserved",
    "rules::session::Limits",
    "store::Cap",
    "store::LockPolicy",
    "store::RotatePolicy",
    "store::WhenFull",
];

/// Outside crates and the only modules that may name them.
pub(crate) const FENCES: &[(&str, &[&str])] = &[
    ("hyper", HTTP_PLACES),
    ("hyper_util", HTTP_PLACES),
    ("h2", &["net", "proxy"]),
    ("http", HTTP_NAMES),
    ("http_body", HTTP_PLACES),
    ("http_body_util", HTTP_PLACES),
    ("httparse", HTTP_PLACES),
    ("jsonwebtoken", &["tokens"]),
    ("argon2", &["crypto"]),
    ("sha2", &["crypto"]),
    ("bcrypt", &["crypto"]),
    ("scrypt", &["crypto"]),
    ("md5", &["crypto"]),
    ("aws_lc_rs", &["crypto", "tokens"]),
    ("rustls", TLS_PLACES),
    ("tokio_rustls", TLS_PLACES),
    ("x509_parser", &["tls"]),
    ("rustls_native_certs", &["tls"]),
    ("webpki_roots", &["tls"]),
    ("listenfd", &["net"]),
    ("sd_notify", &["process"]),
    ("sled", &["store/sled"]),
    ("maxminddb", &["geo"]),
    ("unicode_security", &["rules"]),
    ("clap", &["cli", "main"]),
    ("lettre", &["mail"]),
    ("minijinja", &["mail"]),
    ("socket2", &["net", "proxy"]),
    ("mimalloc", &["main"]),
];

pub(crate) const HTTP_PLACES: &[&str] = &[
    "api", "proxy", "guard", "net", "gateway", "process", "config",
];

/// `types/header` has the rules for reading a `HeaderMap`, which all these modules share.
pub(crate) const HTTP_NAMES: &[&str] = &[
    "types/header",
    "api",
    "proxy",
    "guard",
    "net",
    "gateway",
    "process",
    "config",
];

pub(crate) const TLS_PLACES: &[&str] = &["tls", "proxy", "net"];

/// Synchronous modules: a runtime would bring waiting into pure decisions.
pub(crate) const WITHOUT_TOKIO: &[&str] = &[
    "types", "model", "rules", "policy", "tokens", "crypto", "tls",
];

/// All breaches of one file, in the order of the checks. `path` is below `src`.
pub(crate) fn breaches(law: &Law, path: &str, source: &str) -> Vec<String> {
    let code = without_tests(&without_literals(source));
    let module = module_of(path);
    let mut found = Vec::new();
    found.extend(layer_breaches(law, path, &module, &code));
    found.extend(fence_breaches(path, &module, &code));
    found.extend(habit_breaches(path, &code));
    found
}

pub(crate) fn layer_breaches(law: &Law, path: &str, module: &str, code: &str) -> Vec<String> {
    let Some(row) = law.rows.get(module) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (at, import) in our_paths(path, code) {
        let mut segments = import.split("::");
        let target = segments.next().unwrap_or_default();
        if target == module || !law.rows.contains_key(target) {
            continue;
        }
        let item = segments.next().unwrap_or_default();
        let place = format!("src/{path}:{}", line_of(code, at));
        let May::List { settings, modules } = &row.may else {
            continue;
        };
        if *settings && is_setting(&import) {
            continue;
        }
        let permitted = modules.iter().find(|(name, _)| name == target);
        let Some((_, items)) = permitted else {
            let what = if *settings { import.as_str() } else { target };
            found.push(format!(
                "{place}: {module} imports {what}; may import {}",
                row.text
            ));
            continue;
        };
        if !items.is_empty() && !items.iter().any(|i| i.eq_ignore_ascii_case(item)) {
            let items = items.join(", ");
            found.push(format!(
                "{place}: {module} imports {import}; may import only {items} of it"
            ));
        }
    }
    found
}

pub(crate) fn is_setting(import: &str) -> bool {
    let mut segments = import.split("::");
    segments.any(|s| s == "settings" || s == "Settings") || SETTINGS_PARTS.contains(&import)
}

fn fence_breaches(path: &str, module: &str, code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let place = |at| format!("src/{path}:{}", line_of(code, at));
    for (name, places) in FENCES {
        let inside = places.iter().any(|p| {
            path.strip_suffix(".rs") == Some(p)
                || path.starts_with(&format!("{p}/"))
                || module == *p
        });
        if inside {
            continue;
        }
        for at in crate_uses(code, name) {
            found.push(format!(
                "{}: {name} is fenced; only {} may name it",
                place(at),
                places.join(", ")
            ));
        }
    }
    if WITHOUT_TOKIO.contains(&module) {
        for name in ["tokio", "tokio_util"] {
            for at in crate_uses(code, name) {
                found.push(format!("{}: {module} must not name {name}", place(at)));
            }
        }
    }
    found
}

pub(crate) fn habit_breaches(path: &str, code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut add = |at: usize, what: &str| {
        found.push(format!("src/{path}:{}: {what}", line_of(code, at)));
    };
    for at in words(code, "use") {
        let statement = &code[at..at + code[at..].find(';').unwrap_or(code.len() - at)];
        let flat: String = statement.split_whitespace().collect::<Vec<_>>().join(" ");
        if flat.starts_with("use crate::{") || flat.starts_with("use sidegate::{") {
            add(at, "a `use crate::{..}` group: one module per line");
        }
        if flat.ends_with("::*") || flat.contains("::*,") || flat.contains("::*}") {
            add(at, "a glob import");
        }
    }
    for (at, _) in code.match_indices("super::super") {
        add(at, "`super::super`: name the path from `crate`");
    }
    let is_root_child = !path.contains('/')
        || path
            .strip_suffix("/mod.rs")
            .is_some_and(|p| !p.contains('/'));
    if is_root_child {
        for (at, _) in code.match_indices("super::") {
            add(at, "`super::` reaches the crate root here: write `crate::`");
        }
    }
    for name in ["thread_local!", "lazy_static!"] {
        for (at, _) in code.match_indices(name) {
            add(at, &format!("{name}: no ambient state"));
        }
    }
    for at in words(code, "static") {
        let is_lifetime = code[..at].ends_with('\'');
        let statement = &code[at..at + code[at..].find('=').unwrap_or(code.len() - at)];
        // A `OnceLock` in a field is ordinary state; in a static it is hidden state.
        let changes = [
            "mut ", "Mutex", "RwLock", "Atomic", "Cell<", "OnceLock", "LazyLock",
        ];
        if !is_lifetime && changes.iter().any(|c| statement.contains(c)) {
            add(at, "a static that changes: no ambient state");
        }
    }
    for at in words(code, "fn") {
        let name: String = code[at + 2..]
            .trim_start()
            .chars()
            .take_while(|c| is_word(*c))
            .collect();
        if name.starts_with("validate_") || name.starts_with("check_valid") {
            add(at, &format!("fn {name}: parse into a type instead"));
        }
    }
    for name in ["todo!", "unimplemented!"] {
        for (at, _) in code.match_indices(name) {
            add(at, &format!("{name}: nothing half-done lands"));
        }
    }
    found
}
