//! A running Sidegate, as its owner holds it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::app::build::{self, Surroundings};
use crate::app::error::StartError;
use crate::app::keeper::Keeper;
use crate::app::reload::{Reload, Reread};
use crate::app::sockets::Sockets;
use crate::config::Config;
use crate::server::inherited::Inherited;
use crate::server::lifecycle::{Lifecycle, Phase};
use crate::service::{Current, Service};
use crate::telemetry::logging::Log;
use crate::tokens::keys::Keys;

/// A process's Sidegate, or one of several in a test.
#[derive(Debug)]
pub struct Running {
    address: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    redirect: Option<SocketAddr>,
    lifecycle: Lifecycle,
    service: Arc<Current>,
    keys: Arc<Keys>,
    reload: Reload,
    keeper: JoinHandle<Result<(), StartError>>,
}

/// Builds everything, listens, and serves. When this returns, requests are answered.
pub fn start(
    config: Config,
    surroundings: Surroundings,
    reread: Reread,
) -> Result<Running, StartError> {
    start_on(config, surroundings, Hosting::default(), reread)
}

/// What a process of its own has, and one of several in a test has not.
#[derive(Debug, Default)]
pub(super) struct Hosting {
    /// The sockets that were handed over.
    pub(super) inherited: Inherited,
    /// The process log.
    pub(super) log: Log,
}

/// The same in a process of its own. Sockets that were handed over take the place of the configured.
pub(super) fn start_on(
    config: Config,
    surroundings: Surroundings,
    hosting: Hosting,
    reread: Reread,
) -> Result<Running, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::System)?;
    let shared = build::shared(config, surroundings)?;
    let service = Arc::clone(&shared.service);
    let keys = Arc::clone(&shared.keys);
    runtime
        .block_on(service.load().load_revocations())
        .map_err(StartError::Revocations)?;
    let sockets = runtime.block_on(Sockets::bind(&shared, hosting.inherited))?;
    let (address, admin) = (sockets.public.address(), sockets.admin_address());
    let redirect = sockets.redirect_address();
    let lifecycle = Lifecycle::new();
    let keeper = Keeper::start(shared, sockets, lifecycle.clone(), hosting.log, reread)?;
    let reload = keeper.reload();
    lifecycle.advance(Phase::Serving);
    let keeper = std::thread::Builder::new()
        .name("keeper".to_owned())
        .spawn(move || runtime.block_on(keeper.keep()))
        .map_err(StartError::System)?;
    Ok(Running {
        address,
        admin,
        redirect,
        lifecycle,
        service,
        keys,
        reload,
        keeper,
    })
}

impl Running {
    /// The public address, with the port that was given; none on a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The admin address, if there is one.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The address that only sends clients to https, if there is one.
    pub fn redirect_address(&self) -> Option<SocketAddr> {
        self.redirect
    }

    /// The use cases in force, for whoever runs it in-process.
    pub fn service(&self) -> Arc<Service> {
        self.service.load_full()
    }

    /// The keys, for whoever runs it in-process.
    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// The process's phase.
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    /// Reads the configuration again; says what came of it.
    pub fn reload(&self) -> Result<String, String> {
        self.reload.run()
    }

    /// Begins to end. Returns at once; [`Running::wait`] waits for it.
    pub fn stop(&self) {
        self.lifecycle.advance(Phase::Ending);
    }

    /// Ends without waiting for what is in flight.
    pub fn stop_now(&self) {
        self.lifecycle.advance(Phase::Stopped);
    }

    /// Waits until everything has ended.
    pub fn wait(self) -> Result<(), StartError> {
        match self.keeper.join() {
            Ok(outcome) => outcome,
            Err(_) => Err(StartError::System(std::io::Error::other(
                "the keeper panicked",
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;
    use std::num::NonZeroUsize;
    use std::path::Path;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::config::{self, Sources};
    use crate::service::accounts::Named;
    use crate::service::{Caller, LoginRequest, SignupRequest};
    use crate::types::login::LoginName;
    use crate::types::role::Roles;
    use crate::types::secret::Password;

    fn begin(home: &Path) -> Running {
        let text = format!(
            r#"
server.listen = "127.0.0.1:0"
server.threads = 2
server.control = ""
server.drain_delay = "1m"
admin.listen = ""
upstream.url = "http://127.0.0.1:1"
store.url = "memory:"
tokens.keys_dir = "{}"
"#,
            home.join("keys").display()
        );
        let sources = Sources {
            file: Some(("test.toml".into(), text)),
            env: Vec::new(),
            read: &|path| std::fs::read(path),
            cores: NonZeroUsize::MIN,
        };
        let config = config::load(&sources).unwrap();
        start(
            config,
            Surroundings::real(),
            Arc::new(|| Err(String::new())),
        )
        .unwrap()
    }

    fn end(running: Running) {
        running.stop_now();
        running.wait().unwrap();
    }

    #[test]
    fn while_draining_a_fresh_and_a_kept_connection_are_answered_and_then_closed() {
        let deadline = Instant::now() + Duration::from_secs(60);
        for is_kept in [true, false] {
            while !is_answered_in_time(is_kept) {
                assert!(Instant::now() < deadline, "never as quick as it takes");
            }
        }
    }

    /// Whether the test asked as soon as a server that drains may want it; then it must be answered.
    fn is_answered_in_time(is_kept: bool) -> bool {
        let home = tempfile::tempdir().unwrap();
        let running = begin(home.path());
        let address = running.address().unwrap();
        let kept = is_kept.then(|| TcpStream::connect(address).unwrap());
        let began = Instant::now();
        running.lifecycle().advance(Phase::Draining);
        let mut stream = kept.unwrap_or_else(|| TcpStream::connect(address).unwrap());
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let ask = b"GET /auth/health HTTP/1.1\r\nHost: a\r\n\r\n";
        let is_asked = stream.write_all(ask).is_ok();
        let is_prompt = is_asked && began.elapsed() < Duration::from_millis(500);
        let mut answer = String::new();
        let is_read = stream.read_to_string(&mut answer).is_ok();
        end(running);
        if is_prompt {
            assert!(is_read, "{answer:?}");
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
            assert!(answer.contains("connection: close\r\n"), "{answer:?}");
        }
        is_prompt
    }

    #[test]
    fn s28_no_session_outlives_an_account_closed_while_it_was_made() {
        let home = tempfile::tempdir().unwrap();
        let running = begin(home.path());
        let service = running.service();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let password = Password::new("correct horse battery".to_owned()).unwrap();
        let request = SignupRequest {
            username: LoginName::username("ann").unwrap(),
            email: None,
            mobile: None,
            name: None,
            password: password.clone(),
        };
        let roles = Roles::new([]).unwrap();
        let mut caller = Caller::default();
        let login = LoginRequest {
            identifier: "ann".to_owned(),
            password,
            device_name: None,
            remember: false,
        };
        runtime.block_on(async {
            let ann = service.operator_add(request, roles).await.unwrap();
            let named = Named::parse("ann").unwrap();
            // The account is closed while the password is being checked.
            let (outcome, closed) = tokio::join!(
                service.login(login, &mut caller),
                service.operator_disable(&named)
            );
            assert!(closed.unwrap().is_some());
            let left = service.operator_sessions(Some(&ann.key), None, 10).await;
            assert_eq!(left.unwrap(), Vec::new(), "{:?}", outcome.is_ok());
        });
        end(running);
    }
}
