//! With which configuration, clock, store and keys does a test start Sidegate?

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use sidegate::config::{self, Config, Sources};
use sidegate::process::{self, Beginning, StartError, Surroundings};
use sidegate::store::AnyStore;
use sidegate::types::random::SystemRandom;
use sidegate::types::time::{Clock, ManualClock};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::support::harness::{BEGIN, TestApp};
use crate::support::upstream::Echo;

/// A policy in which every path is public.
pub(crate) const ALL_PUBLIC: &str = "[policy]\ndefault = \"public\"\n";

/// The configuration of a test, unless its own text overrides it.
const BASE: &[(&str, &str, &str)] = &[
    ("server", "listen", "127.0.0.1:0"),
    ("server", "threads", "2"),
    ("server", "header_timeout", "60s"),
    ("server", "drain_timeout", "30s"),
    ("admin", "listen", "127.0.0.1:0"),
    ("store", "url", "memory:"),
    ("store", "deadline", "30s"),
    ("store", "lock_wait", "0s"),
    ("passwords", "memory", "64KiB"),
    ("passwords", "iterations", "1"),
    ("passwords", "max_concurrent", "2"),
    ("passwords", "danger_weak_hash", "true"),
    ("limits", "login", "100000/s"),
    ("limits", "signup", "100000/s"),
    ("limits", "refresh", "100000/s"),
    ("limits", "lists", "100000/s"),
];

/// The parts from which an app is started.
pub(crate) struct Plan {
    pub(crate) text: Arc<Mutex<String>>,
    pub(crate) home: Arc<TempDir>,
    pub(crate) upstream: Arc<Echo>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) time: Option<Arc<dyn Clock>>,
    pub(crate) store: Option<Arc<AnyStore>>,
    pub(crate) disk: Option<PathBuf>,
    pub(crate) start: Beginning,
}

impl Plan {
    pub(crate) fn new(extra: &str) -> Self {
        Self {
            text: Arc::new(Mutex::new(extra.to_owned())),
            home: Arc::new(tempfile::tempdir().expect("a folder")),
            upstream: Arc::new(Echo::start()),
            clock: Arc::new(ManualClock::new(BEGIN)),
            time: None,
            store: None,
            disk: None,
            start: Beginning::default(),
        }
    }

    pub(crate) fn on_disk(mut self, directory: &Path) -> Self {
        self.disk = Some(directory.to_owned());
        self
    }

    pub(crate) async fn start(self) -> TestApp {
        self.try_start().await.expect("an app that starts")
    }

    pub(crate) async fn try_start(self) -> Result<TestApp, StartError> {
        let config = self.config().expect("a configuration");
        let surroundings = Surroundings {
            clock: self.time.clone().unwrap_or(self.clock.clone()),
            random: Arc::new(SystemRandom),
            store: self.store.clone(),
            start: self.start,
        };
        let reader = self.reader();
        // It builds its own runtime, which must not happen on a thread of a runtime.
        let started =
            spawn_blocking(move || process::start(config, surroundings, Arc::new(reader)));
        let running = started.await.expect("no panic")?;
        Ok(TestApp {
            address: running.address().expect("a public address"),
            admin: running.admin_address().expect("an admin address"),
            clock: self.clock,
            upstream: self.upstream,
            home: self.home,
            disk: self.disk,
            text: self.text,
            running: Some(running),
        })
    }

    pub(crate) fn config(&self) -> Result<Config, String> {
        self.reader()()
    }

    /// Reads the configuration as it is at the time of the call.
    pub(crate) fn reader(&self) -> impl Fn() -> Result<Config, String> + Send + Sync + use<> {
        let text = Arc::clone(&self.text);
        let mut base: Vec<(String, String, String)> = BASE
            .iter()
            .map(|(section, key, value)| ((*section).into(), (*key).into(), (*value).into()))
            .collect();
        let home = self.home.path();
        let mut own = |section: &str, key: &str, value: String| {
            base.retain(|(s, k, _)| (s.as_str(), k.as_str()) != (section, key));
            base.push((section.to_owned(), key.to_owned(), value));
        };
        own(
            "upstream",
            "url",
            format!("http://{}", self.upstream.address),
        );
        own("server", "control", path(&home.join("control.sock")));
        own("log", "access_file", path(&home.join("access.log")));
        match &self.disk {
            Some(disk) => {
                own(
                    "store",
                    "url",
                    format!("sled:{}", disk.join("data").display()),
                );
                own("tokens", "keys_dir", path(&disk.join("keys")));
            }
            None => own("tokens", "keys_dir", path(&home.join("keys"))),
        }
        move || read(&text.lock().expect("the text"), &base)
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

/// The environment overrides the file. So the base is in the environment, except for keys in the text of
/// the test.
fn read(text: &str, base: &[(String, String, String)]) -> Result<Config, String> {
    let own_text: toml::Table = toml::from_str(text).unwrap_or_default();
    let is_set = |section: &str, key: &str| {
        let section = own_text.get(section).and_then(toml::Value::as_table);
        section.is_some_and(|table| table.contains_key(key))
    };
    let env = base
        .iter()
        .filter(|(section, key, _)| !is_set(section, key))
        .map(|(section, key, value)| {
            let name = format!("SIDEGATE__{section}__{key}").to_uppercase();
            (name, value.clone())
        });
    let sources = Sources {
        file: Some(("test.toml".into(), text.to_owned())),
        env: env.collect(),
        read: &|path| std::fs::read(path),
        cores: NonZeroUsize::MIN,
    };
    config::load(&sources).map_err(|problems| problems.to_string())
}
