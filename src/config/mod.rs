//! How do the file and the environment become settings?
//!
//! [`load`] reads both and returns the settings of every part, or all mistakes at once.
//!
//! ```text
//! file ── tree ──┐
//!                ├─ shape (known keys, types) ── build (values, rules) ── Config
//! environment ───┘
//! ```
//!
//! Each key is declared once, in `keys`. Everything else that depends on the list of keys is derived
//! from the declarations: the type check, the suggestions, the environment, the text of `config.toml`
//! and what a reload changes.
//!
//! For example, `keys/server.rs` declares `server.header_timeout`, and `build/server.rs` reads it into
//! `process::settings::Settings`.
//!
//! This module does not read the environment or the disk; [`Sources`] contains both, so a test needs a
//! few lines. The place of each value is kept, so that a mistake has file, line and column, or the
//! variable's name. A setting of a missing feature is refused if ignoring it would change safety or
//! meaning (decision 12).

mod build;
mod document;
pub mod explain;
mod hint;
pub(crate) mod key;
pub(crate) mod keys;
pub(crate) mod kind;
mod overlay;
pub mod problem;
mod schema;
mod shape;
#[cfg(test)]
mod tests;
mod tree;

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use crate::config::problem::{Problem, Problems};
use crate::config::tree::Tree;
use crate::store::settings::Engine;

/// The settings of every part.
#[derive(Debug, Clone)]
pub struct Config {
    /// Listeners, limits, timeouts.
    pub server: crate::process::settings::Settings,
    /// The upstream. `managed` is empty here; the guard has the names of the headers that it sets.
    pub proxy: crate::proxy::settings::Settings,
    /// Rules.
    pub policy: crate::policy::settings::Settings,
    /// Tokens in requests, identity headers.
    pub guard: crate::guard::settings::Settings,
    /// Access tokens.
    pub tokens: crate::tokens::settings::Settings,
    /// The store.
    pub store: crate::store::settings::Settings,
    /// Audit records.
    pub audit: crate::audit::settings::Settings,
    /// Password hashing.
    pub crypto: crate::crypto::settings::Settings,
    /// The use cases.
    pub service: crate::service::settings::Settings,
    /// Mail; `None` when none is sent.
    pub mail: Option<crate::mail::settings::Settings>,
    /// Mounts and cookies.
    pub api: crate::api::settings::Settings,
    /// Rate limits.
    pub limits: crate::limits::Settings,
    /// Places of addresses.
    pub geo: crate::geo::settings::Settings,
    /// Level and format of the log.
    pub log: crate::telemetry::settings::Settings,
    /// The networks in `server.trusted_proxies`, as written. Only for output.
    pub trusted_networks: Vec<IpNet>,
    /// Warnings for the operator, one sentence each. Logged at the start.
    pub warnings: Vec<String>,
    /// The `danger_*` keys that are on. Logged at the start.
    pub dangers: Vec<String>,
}

impl Config {
    /// Whether all state is lost when the process ends. Then no command works without a server.
    pub fn is_volatile(&self) -> bool {
        self.store.engine == Engine::Memory
    }
}

/// The file, the environment, and the facts about the machine.
pub struct Sources<'a> {
    /// The file's name, for messages, and its text; `None` when there is no file.
    pub file: Option<(PathBuf, String)>,
    /// The environment; variables that do not begin with `SIDEGATE__` are ignored.
    pub env: Vec<(String, String)>,
    /// Reads the file of a secret.
    pub read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// The number of cores that this process may use: the value of `server.threads = 0`.
    pub cores: NonZeroUsize,
}

impl fmt::Debug for Sources<'_> {
    /// The file's name only: text and variables may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("file", &self.file.as_ref().map(|(path, _)| path))
            .field("cores", &self.cores)
            .finish_non_exhaustive()
    }
}

/// Reads, merges and checks a configuration.
///
/// # Errors
/// Every mistake that can be found, in the order of the file.
pub fn load(sources: &Sources<'_>) -> Result<Config, Problems> {
    let mut problems = Vec::new();
    let tree = read(sources, &mut problems)?;
    let built = build::build(&tree, sources, &mut problems);
    match built {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(sorted(problems)),
    }
}

/// The text of `config.toml`: every key with its meaning and its default.
pub fn defaults() -> String {
    document::document()
}

/// File and environment, merged. Unknown keys and values of the wrong type are taken out and noted.
fn read(sources: &Sources<'_>, problems: &mut Vec<Problem>) -> Result<Tree, Problems> {
    let mut tree = match &sources.file {
        Some((path, text)) => Tree::parse(path, text).map_err(sorted)?,
        None => Tree::default(),
    };
    let schema = schema::schema();
    overlay::lay(&mut tree, &schema, &sources.env, problems);
    shape::check(&mut tree.values, &schema, &tree.origins, problems);
    tree.take_secrets();
    Ok(tree)
}

/// Sorted by place: the file from top to bottom, then the environment, then keys that are not written.
fn sorted(mut problems: Vec<Problem>) -> Problems {
    problems.sort_by(|a, b| a.source.cmp(&b.source));
    Problems(problems)
}
