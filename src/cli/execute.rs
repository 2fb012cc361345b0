//! Commands that ask something of the running server, or of the store when no server runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::args::{Audit, Keys, Users};
use crate::cli::table::clean;
use crate::cli::{App, Offline, OfflineError, Surroundings, Trouble, password, show, tell};
use crate::config::Config;
use crate::control::Reply;
use crate::control::Request;
use crate::control::reply::UserView;
use crate::control::wire::{self, CallError};
use crate::files;
use crate::store::settings::Engine;
use crate::types::secret::SecretText;

/// Carries out one command.
pub(super) struct Operator<'a, 'b> {
    pub(super) app: &'a dyn App,
    pub(super) config: Config,
    pub(super) surroundings: &'a mut Surroundings<'b>,
    /// The store, once a request had to be carried out here.
    pub(super) offline: Option<Box<dyn Offline + 'a>>,
}

impl Operator<'_, '_> {
    /// `sidegate users …`.
    pub(super) fn users(&mut self, command: Users) -> Result<(), Trouble> {
        match command {
            Users::Add {
                name,
                email,
                mobile,
                shown,
                roles,
                password,
                json,
            } => {
                let (secret, made) = self.password(password.generate)?;
                let request = Request::UsersAdd {
                    username: name,
                    email,
                    mobile,
                    name: shown,
                    roles,
                    password: secret,
                };
                let user = self.user(request)?;
                self.added(&user, made.as_ref(), json.json)
            }
            Users::List { limit, after, json } => self.users_list(limit, after, json.json),
            Users::Show { user, json } => {
                let user = self.user(Request::UsersShow { user: user.user })?;
                self.result(json.json, &user, show::user)
            }
            Users::SetPassword { user, password } => {
                let (secret, made) = self.password(password.generate)?;
                self.order(Request::UsersSetPassword {
                    user: user.user,
                    password: secret,
                })?;
                self.made(made.as_ref());
                Ok(())
            }
            Users::SetRoles { user, roles } => self.order(Request::UsersSetRoles {
                user: user.user,
                roles,
            }),
            Users::Enable(who) => self.order(Request::UsersEnable { user: who.user }),
            Users::Disable(who) => self.order(Request::UsersDisable { user: who.user }),
            Users::Unlock(who) => self.order(Request::UsersUnlock { user: who.user }),
            Users::Verify(who) => self.order(Request::UsersVerify { user: who.user }),
            Users::Delete(who) => self.order(Request::UsersDelete { user: who.user }),
        }
    }

    /// `sidegate keys …`.
    pub(super) fn keys(&mut self, command: &Keys) -> Result<(), Trouble> {
        let (request, json) = match command {
            Keys::List { json } => (Request::KeysList, json),
            Keys::Rotate { json } => (Request::KeysRotate, json),
        };
        match self.ask(request)? {
            Reply::Keys(keys) => self.result(json.json, &keys, |keys| show::keys(keys)),
            other => Err(unexpected(&other)),
        }
    }

    /// `sidegate audit …`.
    pub(super) fn audit(&mut self, command: Audit) -> Result<(), Trouble> {
        let (request, json) = match command {
            Audit::List {
                user,
                action,
                since,
                limit,
                json,
            } => (
                Request::AuditList {
                    user,
                    action,
                    since,
                    limit,
                },
                json,
            ),
            Audit::Verify { json } => (Request::AuditVerify, json),
        };
        match self.ask(request)? {
            Reply::Audit { records, faults } => {
                self.result(json.json, &records, |r| show::audit(r))?;
                for fault in &faults {
                    self.note(&format!("sidegate: {}", clean(fault)));
                }
                Ok(())
            }
            Reply::AuditVerified(files) => {
                self.result(json.json, &files, show::audit_files)?;
                if files.fault_count > 0 {
                    let words = "the audit files are damaged, or records are missing";
                    return Err(Trouble::Failed(words.to_owned()));
                }
                Ok(())
            }
            other => Err(unexpected(&other)),
        }
    }

    /// `sidegate healthcheck`.
    pub(super) fn healthcheck(&mut self) -> Result<(), Trouble> {
        match self.ask(Request::Health)? {
            Reply::Health {
                ready: true,
                detail,
            } => {
                tell(self.surroundings.out, &format!("ready: {detail}"));
                Ok(())
            }
            Reply::Health { detail, .. } => Err(Trouble::Failed(format!("not ready: {detail}"))),
            other => Err(unexpected(&other)),
        }
    }

    /// A request whose answer is a sentence, an account or a count.
    pub(super) fn order(&mut self, request: Request) -> Result<(), Trouble> {
        let text = match self.ask(request)? {
            Reply::Done(text) => clean(&text),
            Reply::User(user) => show::user(&user),
            Reply::Ended(1) => "1 session ended".to_owned(),
            Reply::Ended(count) => format!("{count} sessions ended"),
            other => return Err(unexpected(&other)),
        };
        tell(self.surroundings.out, &text);
        Ok(())
    }

    fn user(&mut self, request: Request) -> Result<UserView, Trouble> {
        match self.ask(request)? {
            Reply::User(user) => Ok(*user),
            other => Err(unexpected(&other)),
        }
    }

    fn added(
        &mut self,
        user: &UserView,
        made: Option<&SecretText>,
        json: bool,
    ) -> Result<(), Trouble> {
        if json {
            let value = serde_json::json!({
                "user": user,
                "password": made.map(SecretText::expose),
            });
            tell(self.surroundings.out, &show::json(&value)?);
        } else {
            tell(self.surroundings.out, &show::user(user));
            self.made(made);
        }
        Ok(())
    }

    /// The password, and once more when it was made up and is to be shown.
    fn password(&mut self, generate: bool) -> Result<(SecretText, Option<SecretText>), Trouble> {
        if generate {
            let made = password::generate(self.surroundings.random);
            return Ok((made.clone(), Some(made)));
        }
        (self.surroundings.password)("password")
            .map(|typed| (typed, None))
            .map_err(|e| {
                Trouble::Use(format!(
                    "{e}; write it to standard input, or use --generate"
                ))
            })
    }

    fn made(&mut self, made: Option<&SecretText>) {
        if let Some(made) = made {
            let text = format!("password  {}", made.expose());
            tell(self.surroundings.out, &text);
        }
    }

    pub(super) fn result<T: serde::Serialize>(
        &mut self,
        json: bool,
        value: &T,
        text: impl Fn(&T) -> String,
    ) -> Result<(), Trouble> {
        let text = if json {
            show::json(value)?
        } else {
            text(value)
        };
        tell(self.surroundings.out, &text);
        Ok(())
    }

    pub(super) fn note(&mut self, text: &str) {
        tell(self.surroundings.err, text);
    }

    /// Asks the running server; when there is none, does it here.
    pub(super) fn ask(&mut self, request: Request) -> Result<Reply, Trouble> {
        let socket = self.config.server.control.clone();
        let answer = match &socket {
            Some(socket) => call(socket, &request, owner(&self.config))?,
            None => None,
        };
        let reply = match answer {
            Some(reply) => reply,
            None if request.needs_server() => return Err(no_server(socket.as_ref())),
            None => self.offline(request, socket.as_ref())?,
        };
        match reply {
            Reply::Failed(message) => Err(Trouble::Failed(clean(&message))),
            reply => Ok(reply),
        }
    }

    /// Whether a server answers.
    pub(super) fn is_served(&self) -> Result<bool, Trouble> {
        match &self.config.server.control {
            Some(socket) => Ok(call(socket, &Request::Health, owner(&self.config))?.is_some()),
            None => Ok(false),
        }
    }

    /// Carries it out here. The store stays open until the command is done: one that asks page by
    /// page opens it once.
    fn offline(&mut self, request: Request, socket: Option<&PathBuf>) -> Result<Reply, Trouble> {
        if self.config.is_volatile() {
            let none =
                "there is nothing to work on: the store is in memory and no server is running";
            return Err(Trouble::Failed(none.to_owned()));
        }
        let told = |error| match error {
            OfflineError::Failed(message) => Trouble::Failed(message),
            OfflineError::StoreLocked => Trouble::Failed(format!(
                "another process holds the store, yet no server answers on {}; use the \
                 configuration that the server was started with, or stop the other process",
                shown(socket)
            )),
        };
        let open = match self.offline.take() {
            Some(open) => open,
            None => self.app.open_offline(self.config.clone()).map_err(told)?,
        };
        self.offline.insert(open).execute(request).map_err(told)
    }

    /// Closes the store if the command has opened it.
    pub(super) fn close(&mut self) -> Result<(), Trouble> {
        match self.offline.take().map(Offline::close) {
            Some(Err(error)) => Err(Trouble::Failed(error.to_string())),
            Some(Ok(())) | None => Ok(()),
        }
    }
}

/// The user that a server of this configuration runs as, as far as its files tell.
fn owner(config: &Config) -> Option<u32> {
    match &config.store.engine {
        Engine::Sled { path, .. } => files::owner_of(path),
        Engine::Memory => files::owner_of(&config.tokens.keys_dir),
    }
}

/// `None` when nobody listens.
fn call(socket: &Path, request: &Request, owner: Option<u32>) -> Result<Option<Reply>, Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|e| Trouble::Failed(e.to_string()))?;
    let patience = if *request == Request::Health {
        PROBE
    } else {
        DEADLINE
    };
    match runtime.block_on(wire::call_of(socket, request, patience, owner)) {
        Ok(reply) => Ok(Some(reply)),
        Err(CallError::NoServer) => Ok(None),
        Err(error @ CallError::Connect(_)) => Err(Trouble::Failed(format!(
            "{error}; {} belongs to the user that runs the server",
            socket.display()
        ))),
        Err(error) => Err(Trouble::Failed(error.to_string())),
    }
}

fn no_server(socket: Option<&PathBuf>) -> Trouble {
    Trouble::Failed(format!(
        "no server is running: nobody answers on {}",
        shown(socket)
    ))
}

pub(super) fn shown(socket: Option<&PathBuf>) -> String {
    socket.map_or_else(
        || "a control socket, since server.control is empty".to_owned(),
        |path| path.display().to_string(),
    )
}

/// Server and command line are not of the same version.
pub(super) fn unexpected(reply: &Reply) -> Trouble {
    let word = match reply {
        Reply::Done(text) => text.as_str(),
        Reply::Health { .. } => "health",
        Reply::User(_) | Reply::Users { .. } => "users",
        Reply::Sessions { .. } => "sessions",
        Reply::Ended(_) | Reply::Ending(_) => "a count",
        Reply::BackupBegun(_) | Reply::BackupPage { .. } => "a backup",
        Reply::Keys(_) => "keys",
        Reply::Audit { .. } | Reply::AuditVerified(_) => "audit records",
        Reply::Failed(message) => message.as_str(),
    };
    Trouble::Failed(format!(
        "the server gave another answer than expected: {word}"
    ))
}

/// How long an operator waits: longer than the store's longest wait and a password's hash.
const DEADLINE: Duration = Duration::from_secs(90);
/// How long a probe waits: a server that is well answers at once.
const PROBE: Duration = Duration::from_secs(5);
