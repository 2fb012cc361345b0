//! The configuration: a file and the environment in, the settings of every part out, or every
//! mistake at once.
//!
//! ```text
//! file ── tree ──┐
//!                ├─ shape (known keys, types) ── raw ── build ── Config
//! environment ───┘
//! ```
//!
//! Nothing here reads the process's environment or the disk: [`Sources`] brings both, so every case
//! is a test of a few lines. Values keep the place they were written at until the end, so a wrong
//! one is always told with file, line and column, or with the variable's name. What this version
//! cannot do is refused, never ignored, when leaving it out would change safety or meaning.

mod build;
pub mod explain;
mod hint;
mod overlay;
pub mod problem;
mod raw;
mod shape;
#[cfg(test)]
mod tests;
mod tree;

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use toml::Value;

use crate::config::problem::{Problem, Problems, Source};
use crate::config::raw::Raw;
use crate::config::tree::Tree;
use crate::store::settings::Engine;

/// What every part is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// Listeners, limits, life.
    pub server: crate::server::settings::Settings,
    /// The upstream. `managed` is empty here: which header names are ours to set is known by the
    /// guard that sets them.
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
    /// Mounts and cookies.
    pub api: crate::api::settings::Settings,
    /// Rate limits.
    pub limits: crate::limits::Settings,
    /// What is logged.
    pub log: crate::telemetry::settings::Settings,
    /// The networks behind `server.trusted_proxies`, as stated: to be shown, not to be asked.
    pub trusted_networks: Vec<IpNet>,
    /// Things the operator should know, one sentence each: to be logged at start.
    pub warnings: Vec<String>,
    /// The `danger_*` keys that are on: to be logged at start.
    pub dangers: Vec<String>,
}

impl Config {
    /// Whether all state ends with the process, so that nothing can be done without a server.
    pub fn is_volatile(&self) -> bool {
        self.store.engine == Engine::Memory
    }
}

/// Where a configuration comes from.
pub struct Sources<'a> {
    /// The file's name, for messages, and its text; `None` when there is no file.
    pub file: Option<(PathBuf, String)>,
    /// The environment; variables that do not begin with `SIDEGATE__` are ignored.
    pub env: Vec<(String, String)>,
    /// Reads a secret's file.
    pub read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// How many cores this process may use; what `server.threads = 0` means.
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

/// Reads, merges and judges a configuration.
///
/// # Errors
/// Every mistake that can be found, in the order of the file.
pub fn load(sources: &Sources<'_>) -> Result<Config, Problems> {
    let mut problems = Vec::new();
    let (raw, tree) = read(sources, &mut problems)?;
    let built = build::build(&raw, &tree.origins, sources, &mut problems);
    match built {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(sorted(problems)),
    }
}

/// The merged configuration in its raw form, with whatever is wrong in it taken out and told.
fn read(sources: &Sources<'_>, problems: &mut Vec<Problem>) -> Result<(Raw, Tree), Problems> {
    let mut tree = match &sources.file {
        Some((path, text)) => Tree::parse(path, text).map_err(sorted)?,
        None => Tree::default(),
    };
    let template = Raw::template().map_err(|e| internal(&e.to_string()))?;
    overlay::lay(&mut tree, &template, &sources.env, problems);
    shape::check("", &mut tree.values, &template, &tree.origins, problems);
    let raw = Value::Table(std::mem::take(&mut tree.values))
        .try_into()
        .map_err(|e: toml::de::Error| internal(e.message()))?;
    Ok((raw, tree))
}

/// By place: the file from top to bottom, then the environment, then what is written nowhere.
fn sorted(mut problems: Vec<Problem>) -> Problems {
    problems.sort_by(|a, b| a.source.cmp(&b.source));
    Problems(problems)
}

/// A mistake whose place is not known. The shape check leaves none of these to happen.
fn internal(message: &str) -> Problems {
    Problems(vec![Problem {
        source: Source::Whole(None),
        key: String::new(),
        message: message.to_owned(),
        hint: None,
    }])
}
