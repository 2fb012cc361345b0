//! Which part executes a command of an operator?
//!
//! Replies contain every reason: operators own the machine.

use std::fmt;
use std::sync::Arc;

use tokio::task::spawn_blocking;

use crate::control::reply::{KeyView, Reply};
use crate::control::request::Request;
use crate::net::lifecycle::{Lifecycle, Phase};
use crate::process::control::outcome::{no_server, text};
use crate::process::control::users::{self, NewUser};
use crate::process::control::{audit, backups, imports, sessions, view};
use crate::service::{Current, Service};
use crate::tokens::keys::Keys;

/// Executes commands.
pub(crate) struct Operator {
    /// Accounts and sessions.
    pub(crate) service: Arc<Current>,
    /// Keys.
    pub(crate) keys: Arc<Keys>,
    /// The running server, if one runs.
    pub(crate) server: Option<RunningServer>,
}

/// The parts that only a running server has.
pub(crate) struct RunningServer {
    /// The phase of the process.
    pub(crate) lifecycle: Lifecycle,
    /// Whether it is ready, and the reasons as text.
    pub(crate) readiness: Box<dyn Fn() -> (bool, String) + Send + Sync>,
    /// Reads the configuration again. Returns the outcome as text.
    pub(crate) reload: Arc<dyn Fn() -> Result<String, String> + Send + Sync>,
}

impl fmt::Debug for RunningServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningServer").finish_non_exhaustive()
    }
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operator")
            .field("running", &self.server.is_some())
            .finish_non_exhaustive()
    }
}

impl Operator {
    /// Executes one command, on the running server or on a store that this process has opened.
    pub(crate) async fn execute(&self, request: Request) -> Reply {
        let service = &*self.service.load_full();
        let done = match request {
            Request::Health => return self.health(),
            Request::Drain => return self.drain(),
            Request::Reload => return self.reload().await,
            Request::UsersAdd {
                username,
                email,
                mobile,
                name,
                roles,
                password,
            } => {
                let new = NewUser {
                    username,
                    email,
                    mobile,
                    name,
                    roles,
                    password,
                };
                users::add(service, new).await
            }
            Request::UsersList { after, limit } => users::list(service, after, limit).await,
            Request::UsersShow { user } => users::show(service, &user).await,
            Request::UsersSetPassword { user, password } => {
                users::set_password(service, &user, password).await
            }
            Request::UsersSetRoles { user, roles } => users::set_roles(service, &user, roles).await,
            Request::UsersEnable { user } => users::enable(service, &user).await,
            Request::UsersDisable { user } => users::disable(service, &user).await,
            Request::UsersUnlock { user } => users::unlock(service, &user).await,
            Request::UsersVerify { user } => users::verify(service, &user).await,
            Request::UsersDelete { user } => users::delete(service, &user).await,
            Request::UsersImport { accounts, dry_run } => {
                imports::accounts(service, accounts, dry_run).await
            }
            Request::UsersImportMark { end } => Ok(imports::mark(service, end)),
            Request::SessionsList { user, after, limit } => {
                sessions::list(service, user, after, limit).await
            }
            Request::SessionsEnd(which) => sessions::end(service, which).await,
            Request::SessionsClear => sessions::clear(service).await,
            Request::BackupBegin => backups::begin(service).await,
            Request::BackupNext { id } => backups::next(service, id).await,
            Request::BackupEnd { id } => backups::end(service, id).await,
            Request::KeysList => Ok(Reply::Keys(self.keys(service))),
            Request::KeysRotate => self.rotate_keys(service),
            Request::AuditList {
                user,
                action,
                since,
                limit,
            } => audit::list(service, user, action, since, limit).await,
            Request::AuditVerify => audit::verify(service).await,
        };
        service.audit_settled().await;
        done.unwrap_or_else(Reply::Failed)
    }

    fn health(&self) -> Reply {
        match &self.server {
            Some(server) => {
                let (ready, detail) = (server.readiness)();
                Reply::Health { ready, detail }
            }
            None => no_server(),
        }
    }

    fn drain(&self) -> Reply {
        match &self.server {
            Some(server) => {
                server.lifecycle.advance(Phase::Draining);
                Reply::Done(
                    "draining: /readyz answers 503, and connections close after their response"
                        .to_owned(),
                )
            }
            None => no_server(),
        }
    }

    /// On another thread than other commands and probes: files are read and a password is hashed.
    async fn reload(&self) -> Reply {
        let Some(server) = &self.server else {
            return no_server();
        };
        let reload = Arc::clone(&server.reload);
        match spawn_blocking(move || reload()).await {
            Ok(Ok(outcome)) => Reply::Done(outcome),
            Ok(Err(error)) => Reply::Failed(error),
            Err(_) => Reply::Failed("the reload panicked; the log has more".to_owned()),
        }
    }

    fn rotate_keys(&self, service: &Service) -> Result<Reply, String> {
        service.operator_rotate_keys().map_err(text)?;
        Ok(Reply::Keys(self.keys(service)))
    }

    fn keys(&self, service: &Service) -> Vec<KeyView> {
        view::keys(&self.keys, service.now())
    }
}
