//! How does the owner of a running Sidegate stop, reload or query it?

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::net::lifecycle::{Lifecycle, Phase};
use crate::process::reload::Reload;
use crate::process::start::error::StartError;
use crate::service::{Current, Service};
use crate::tokens::keys::Keys;

/// A running Sidegate: that of the process, or one of several in a test.
#[derive(Debug)]
pub struct Running {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) redirect: Option<SocketAddr>,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) service: Arc<Current>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) reload: Reload,
    /// The supervisor's thread.
    pub(crate) supervisor: JoinHandle<Result<(), StartError>>,
}

impl Running {
    /// The public address, with the port that the system chose; `None` for a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The address of the admin listener, if there is one.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The address of the listener that redirects to https, if there is one.
    pub fn redirect_address(&self) -> Option<SocketAddr> {
        self.redirect
    }

    /// The service of the configuration in force.
    pub fn service(&self) -> Arc<Service> {
        self.service.load_full()
    }

    /// The signing keys.
    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// The phase of the process.
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    /// Reads the configuration again. Returns the outcome as text for an operator.
    pub fn reload(&self) -> Result<String, String> {
        self.reload.run()
    }

    /// Begins the end of the process. Returns at once; [`Running::wait`] waits for it.
    pub fn stop(&self) {
        self.lifecycle.advance(Phase::Ending);
    }

    /// Ends the process without waiting for requests in progress.
    pub fn stop_now(&self) {
        self.lifecycle.advance(Phase::Stopped);
    }

    /// Waits until everything has ended.
    pub fn wait(self) -> Result<(), StartError> {
        match self.supervisor.join() {
            Ok(outcome) => outcome,
            Err(_) => Err(StartError::System(io::Error::other(
                "the supervisor panicked",
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
    use crate::process::start::start;
    use crate::process::start::surroundings::Surroundings;
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
    fn during_a_drain_new_and_idle_connections_are_answered_and_then_closed() {
        let deadline = Instant::now() + Duration::from_secs(60);
        for is_kept in [true, false] {
            while !is_answered_in_time(is_kept) {
                assert!(Instant::now() < deadline, "never as quick as it takes");
            }
        }
    }

    /// Sends a request during a drain. Returns whether it was sent early enough that it had to be answered.
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
