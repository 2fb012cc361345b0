//! How does a test run Sidegate in its own process? With real sockets on free ports, a clock that the
//! test moves, cheap password hashes, and an application that echoes.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;
use sidegate::model::audit::AuditRecord;
use sidegate::process::{Beginning, Running, StartError};
use sidegate::service::{Service, SignupRequest};
use sidegate::store::testing::{self, Faults};
use sidegate::types::login::LoginName;
use sidegate::types::named::Named;
use sidegate::types::role::{Role, Roles};
use sidegate::types::secret::Password;
use sidegate::types::time::{Clock, ManualClock, Timestamp};
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::support::actors::Actor;
use crate::support::answer::Answer;
use crate::support::client::{self, DEADLINE, TestRequest};
use crate::support::plan::Plan;
use crate::support::upstream::Echo;
use crate::support::wait::{released, until};

/// The password of every account that [`TestApp::user`] makes.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// The start time of the clock of every app: 2027-01-15T08:00:00Z.
pub(crate) const BEGIN: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// A running Sidegate. It stops when it is dropped.
pub(crate) struct TestApp {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) upstream: Arc<Echo>,
    pub(super) home: Arc<TempDir>,
    pub(super) disk: Option<PathBuf>,
    pub(super) text: Arc<Mutex<String>>,
    pub(super) running: Option<Running>,
}

impl fmt::Debug for TestApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestApp")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl TestApp {
    /// Starts with the defaults of tests.
    pub(crate) async fn start() -> Self {
        Self::with("").await
    }

    /// Starts with this configuration, which overrides the defaults.
    pub(crate) async fn with(extra: &str) -> Self {
        Plan::new(extra).start().await
    }

    /// Starts with a store in memory whose operations can fail on request.
    pub(crate) async fn with_faults(extra: &str) -> (Self, Faults) {
        let mut plan = Plan::new(extra);
        let settings = plan.config().expect("a configuration").store;
        let clock = Arc::clone(&plan.clock);
        let (store, faults) = testing::memory_with(&settings, clock).expect("a store");
        plan.store = Some(Arc::new(store));
        (plan.start().await, faults)
    }

    /// Starts with a sled store and keys in a directory that outlives the app.
    pub(crate) async fn on_disk(directory: &Path, extra: &str) -> Self {
        Plan::new(extra).on_disk(directory).start().await
    }

    /// Like [`TestApp::on_disk`], but may fail, and uses the clock of an earlier app.
    pub(crate) async fn try_on_disk(
        directory: &Path,
        extra: &str,
        clock: &Arc<ManualClock>,
    ) -> Result<Self, StartError> {
        let mut plan = Plan::new(extra).on_disk(directory);
        plan.clock = Arc::clone(clock);
        plan.try_start().await
    }

    /// Starts with this clock in place of that of the test.
    pub(crate) async fn on_time(time: Arc<dyn Clock>, disk: Option<&Path>, extra: &str) -> Self {
        let mut plan = Plan::new(extra);
        plan.disk = disk.map(Path::to_owned);
        plan.time = Some(time);
        plan.start().await
    }

    /// Like [`TestApp::on_disk`], with the options of a start about a missing store or missing keys.
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

    /// The running process.
    pub(crate) fn running(&self) -> &Running {
        self.running.as_ref().expect("an app that runs")
    }

    /// The directory of keys, log and control socket.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Replaces the configuration for the next reload.
    pub(crate) fn rewrite(&self, extra: &str) {
        extra.clone_into(&mut self.text.lock().expect("the text"));
    }

    /// Stops as after a signal, and waits for the end.
    pub(crate) async fn stop(mut self) {
        let running = self.running.take().expect("an app that runs");
        running.stop();
        let ended = spawn_blocking(move || running.wait()).await;
        ended.expect("no panic").expect("an orderly end");
        if let Some(disk) = &self.disk {
            released(&disk.join("data")).await;
        }
    }

    /// A client without credentials.
    pub(crate) fn anon(&self) -> Actor {
        Actor::anonymous(self.address)
    }

    /// Creates an account with the role `user` and logs it in.
    pub(crate) async fn user(&self, name: &str) -> Actor {
        self.user_with_roles(name, &["user"]).await
    }

    /// Creates an account with these roles and logs it in.
    pub(crate) async fn user_with_roles(&self, name: &str, roles: &[&str]) -> Actor {
        self.account(name, roles).await;
        self.login(name).await
    }

    /// Creates an account. Its password is [`PASSWORD`].
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

    /// Logs in an account of [`TestApp::account`].
    pub(crate) async fn login(&self, name: &str) -> Actor {
        self.anon().login(name, PASSWORD).await
    }

    /// Sends bytes as they are and reads until the end.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        client::raw(self.address, bytes).await
    }

    /// Sends a GET to the admin listener.
    pub(crate) async fn admin_get(&self, path: &str) -> Answer {
        TestRequest::new("GET", path).send(self.admin).await
    }

    /// The value of a metric.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let page = self.admin_get("/metrics").await.text();
        let line = page.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.rsplit(' ').next());
        value
            .unwrap_or_else(|| panic!("{name} is not in\n{page}"))
            .parse()
            .expect("a number")
    }

    /// The newest audit records, once `enough` accepts them.
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

    /// The access log, once `enough` accepts it.
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

/// The claims of an access token, unverified.
pub(crate) fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).expect("claims");
    let json = BASE64URL_NOPAD.decode(part.as_bytes()).expect("base64url");
    serde_json::from_slice(&json).expect("JSON")
}
