//! Sidegate in-process, as a test owns it: real sockets on free ports, a clock that stands still
//! until it is moved, cheap password hashes, an upstream that echoes.

use std::fmt;
use std::fs::File;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;
use sidegate::app::{self, Beginning, Running, StartError, Surroundings};
use sidegate::config::{self, Config, Sources};
use sidegate::model::audit::AuditRecord;
use sidegate::service::{Service, SignupRequest};
use sidegate::store::{Embedded, Faults};
use sidegate::types::login::LoginName;
use sidegate::types::named::Named;
use sidegate::types::random::SystemRandom;
use sidegate::types::role::{Role, Roles};
use sidegate::types::secret::Password;
use sidegate::types::time::{Clock, ManualClock, Timestamp};
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::actors::Actor;
use crate::client::{self, Answer, Ask, DEADLINE};
use crate::upstream::Echo;

/// The password of every account that [`TestApp::user`] makes.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// Where the clock of every app begins: 2027-01-15T08:00:00Z.
pub(crate) const BEGIN: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// What a test configures unless its own text says otherwise.
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

/// A running Sidegate. Everything stops when it is dropped.
pub(crate) struct TestApp {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) upstream: Arc<Echo>,
    home: Arc<TempDir>,
    disk: Option<PathBuf>,
    text: Arc<Mutex<String>>,
    running: Option<Running>,
}

impl fmt::Debug for TestApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestApp")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl TestApp {
    /// With nothing but the defaults of a test.
    pub(crate) async fn start() -> Self {
        Self::with("").await
    }

    /// With this configuration on top; what it says holds.
    pub(crate) async fn with(extra: &str) -> Self {
        Plan::new(extra).start().await
    }

    /// With a store in memory that can be told to fail.
    pub(crate) async fn with_faults(extra: &str) -> (Self, Faults) {
        let mut plan = Plan::new(extra);
        let settings = plan.config().expect("a configuration").store;
        let clock = Arc::clone(&plan.clock);
        let (store, faults) = Embedded::memory_with(&settings, clock).expect("a store");
        plan.store = Some(Arc::new(store));
        (plan.start().await, faults)
    }

    /// With a sled store and keys in a directory that outlives the app.
    pub(crate) async fn on_disk(directory: &Path, extra: &str) -> Self {
        Plan::new(extra).on_disk(directory).start().await
    }

    /// Like [`TestApp::on_disk`], but may fail, and keeps the clock of an app before it.
    pub(crate) async fn try_on_disk(
        directory: &Path,
        extra: &str,
        clock: &Arc<ManualClock>,
    ) -> Result<Self, StartError> {
        let mut plan = Plan::new(extra).on_disk(directory);
        plan.clock = Arc::clone(clock);
        plan.try_start().await
    }

    /// On this time in place of the clock of a test.
    pub(crate) async fn on_time(time: Arc<dyn Clock>, disk: Option<&Path>, extra: &str) -> Self {
        let mut plan = Plan::new(extra);
        plan.disk = disk.map(Path::to_owned);
        plan.time = Some(time);
        plan.start().await
    }

    /// Like [`TestApp::on_disk`], with whatever a start may be asked to do about a store or keys that
    /// are gone.
    pub(crate) async fn try_beginning(
        directory: &Path,
        start: Beginning,
        clock: &Arc<ManualClock>,
    ) -> Result<Self, StartError> {
        let mut plan = Plan::new("").on_disk(directory);
        plan.clock = Arc::clone(clock);
        plan.start = start;
        plan.try_start().await
    }

    /// The use cases, without HTTP.
    pub(crate) fn service(&self) -> Arc<Service> {
        self.running().service()
    }

    /// The process as its owner holds it.
    pub(crate) fn running(&self) -> &Running {
        self.running.as_ref().expect("an app that runs")
    }

    /// The folder of keys, log and control socket.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Replaces the text that the next reload reads.
    pub(crate) fn rewrite(&self, extra: &str) {
        extra.clone_into(&mut self.text.lock().expect("the text"));
    }

    /// Ends in order, as a signal would do it, and waits for that.
    pub(crate) async fn stop(mut self) {
        let running = self.running.take().expect("an app that runs");
        running.stop();
        let ended = spawn_blocking(move || running.wait()).await;
        ended.expect("no panic").expect("an orderly end");
        if let Some(disk) = &self.disk {
            released(&disk.join("data")).await;
        }
    }

    /// Somebody without any credential.
    pub(crate) fn anon(&self) -> Actor {
        Actor::anonymous(self.address)
    }

    /// An account with the role `user`, logged in.
    pub(crate) async fn user(&self, name: &str) -> Actor {
        self.user_with_roles(name, &["user"]).await
    }

    /// An account with these roles, logged in.
    pub(crate) async fn user_with_roles(&self, name: &str, roles: &[&str]) -> Actor {
        self.account(name, roles).await;
        self.login(name).await
    }

    /// An account, not logged in. Its password is [`PASSWORD`].
    pub(crate) async fn account(&self, name: &str, roles: &[&str]) {
        let request = SignupRequest {
            username: LoginName::username(name).expect("a username"),
            email: None,
            mobile: None,
            name: None,
            password: Password::new(PASSWORD.to_owned()).expect("a password"),
        };
        let roles = roles
            .iter()
            .map(|role| role.parse::<Role>().expect("a role"));
        let roles = Roles::new(roles).expect("roles");
        let added = self.service().operator_add(request, roles).await;
        added.expect("a new account");
    }

    /// Logs an account of [`TestApp::account`] in once more.
    pub(crate) async fn login(&self, name: &str) -> Actor {
        self.anon().login(name, PASSWORD).await
    }

    /// Sends bytes as they are and reads until the end.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        client::raw(self.address, bytes).await
    }

    /// Asks the admin listener.
    pub(crate) async fn admin_get(&self, path: &str) -> Answer {
        Ask::new("GET", path).send(self.admin).await
    }

    /// The newest audit records, once `enough` says that what the test did is among them.
    pub(crate) async fn audit(&self, enough: impl Fn(&[AuditRecord]) -> bool) -> Vec<AuditRecord> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let records = self.service().operator_audit(None, 500).await;
            let records = records.expect("the audit");
            if enough(&records) {
                return records;
            }
            assert!(Instant::now() < deadline, "not in time: {records:#?}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// The access log, once `enough` says that it holds what it must.
    pub(crate) async fn access_log(&self, enough: impl Fn(&str) -> bool) -> String {
        let path = self.home().join("access.log");
        until(|| {
            let log = std::fs::read_to_string(&path).unwrap_or_default();
            enough(&log).then_some(log)
        })
        .await
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop_now();
            drop(running.wait());
        }
    }
}

/// Waits for a condition, up to the deadline of every wait.
pub(crate) async fn until<T>(condition: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "the condition never held");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until the files of a closed store are free. A child process that another test starts holds
/// a copy of every file that was open then, until it runs its own program.
pub(crate) async fn released(store: &Path) {
    let is_free = |name: &&str| match File::open(store.join(name)) {
        // Unlocked before it is closed: by now a child may hold a copy of this one as well.
        Ok(file) => file.try_lock().is_ok() && file.unlock().is_ok(),
        Err(_) => true,
    };
    until(|| ["lock", "db"].iter().all(is_free).then_some(())).await;
}

/// Changes the roles of an account, as an operator does.
pub(crate) async fn set_roles(app: &TestApp, name: &str, roles: &[&str]) {
    let roles = roles
        .iter()
        .map(|role| role.parse::<Role>().expect("a role"));
    let roles = Roles::new(roles).expect("roles");
    let named = Named::parse(name).expect("a name");
    let set = app.service().operator_set_roles(&named, roles).await;
    set.expect("done").expect("an account");
}

/// What an access token claims, unverified.
pub(crate) fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).expect("claims");
    let json = BASE64URL_NOPAD.decode(part.as_bytes()).expect("base64url");
    serde_json::from_slice(&json).expect("JSON")
}

/// What an app is started from.
struct Plan {
    text: Arc<Mutex<String>>,
    home: Arc<TempDir>,
    upstream: Arc<Echo>,
    clock: Arc<ManualClock>,
    time: Option<Arc<dyn Clock>>,
    store: Option<Arc<Embedded>>,
    disk: Option<PathBuf>,
    start: Beginning,
}

impl Plan {
    fn new(extra: &str) -> Self {
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

    fn on_disk(mut self, directory: &Path) -> Self {
        self.disk = Some(directory.to_owned());
        self
    }

    async fn start(self) -> TestApp {
        self.try_start().await.expect("an app that starts")
    }

    async fn try_start(self) -> Result<TestApp, StartError> {
        let config = self.config().expect("a configuration");
        let surroundings = Surroundings {
            clock: self.time.clone().unwrap_or(self.clock.clone()),
            random: Arc::new(SystemRandom),
            store: self.store.clone(),
            start: self.start,
        };
        let reader = self.reader();
        // It builds a runtime of its own, which must not happen on a runtime's thread.
        let started = spawn_blocking(move || app::start(config, surroundings, Arc::new(reader)));
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

    fn config(&self) -> Result<Config, String> {
        self.reader()()
    }

    /// Reads the configuration as it is at the time of the call.
    fn reader(&self) -> impl Fn() -> Result<Config, String> + Send + Sync + use<> {
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

/// The environment outranks the file; so the base stands in the environment, except where the
/// test's own text has a word.
fn read(text: &str, base: &[(String, String, String)]) -> Result<Config, String> {
    let said: toml::Table = toml::from_str(text).unwrap_or_default();
    let is_said = |section: &str, key: &str| {
        let section = said.get(section).and_then(toml::Value::as_table);
        section.is_some_and(|table| table.contains_key(key))
    };
    let env = base
        .iter()
        .filter(|(section, key, _)| !is_said(section, key))
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
