//! Where is a command executed: in the running server, or in this process?

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::app::{App, Offline};
use crate::cli::args::{Audit, Keys, Users};
use crate::cli::console::{Console, print_line};
use crate::cli::error::{CommandError, OfflineError};
use crate::cli::table::clean;
use crate::cli::{password, show};
use crate::config::Config;
use crate::control::reply::UserView;
use crate::control::wire::{self, CallError};
use crate::control::{Reply, Request};
use crate::files;
use crate::types::secret::SecretText;

/// Executes one command.
pub(super) struct Executor<'a, 'b> {
    pub(super) app: &'a dyn App,
    pub(super) config: Config,
    pub(super) console: &'a mut Console<'b>,
    /// The store, if this process had to open it.
    pub(super) offline: Option<Box<dyn Offline + 'a>>,
}

impl Executor<'_, '_> {
    /// `sidegate users …`.
    pub(super) fn users(&mut self, command: Users) -> Result<(), CommandError> {
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
            Users::Import(import) => self.users_import(&import),
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
                self.print_generated(made.as_ref());
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
    pub(super) fn keys(&mut self, command: &Keys) -> Result<(), CommandError> {
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
    pub(super) fn audit(&mut self, command: Audit) -> Result<(), CommandError> {
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
                    return Err(CommandError::Failed(words.to_owned()));
                }
                Ok(())
            }
            other => Err(unexpected(&other)),
        }
    }

    /// `sidegate healthcheck`.
    pub(super) fn healthcheck(&mut self) -> Result<(), CommandError> {
        match self.ask(Request::Health)? {
            Reply::Health {
                ready: true,
                detail,
            } => {
                print_line(self.console.out, &format!("ready: {detail}"));
                Ok(())
            }
            Reply::Health { detail, .. } => {
                Err(CommandError::Failed(format!("not ready: {detail}")))
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Sends a request whose reply is a text, an account or a number.
    pub(super) fn order(&mut self, request: Request) -> Result<(), CommandError> {
        let text = match self.ask(request)? {
            Reply::Done(text) => clean(&text),
            Reply::User(user) => show::user(&user),
            Reply::Ended(1) => "1 session ended".to_owned(),
            Reply::Ended(count) => format!("{count} sessions ended"),
            other => return Err(unexpected(&other)),
        };
        print_line(self.console.out, &text);
        Ok(())
    }

    fn user(&mut self, request: Request) -> Result<UserView, CommandError> {
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
    ) -> Result<(), CommandError> {
        if json {
            let value = serde_json::json!({
                "user": user,
                "password": made.map(SecretText::expose),
            });
            print_line(self.console.out, &show::json(&value)?);
        } else {
            print_line(self.console.out, &show::user(user));
            self.print_generated(made);
        }
        Ok(())
    }

    /// Returns the password, and a second copy to print if it was generated.
    fn password(
        &mut self,
        generate: bool,
    ) -> Result<(SecretText, Option<SecretText>), CommandError> {
        if generate {
            let made = password::generate(self.console.random);
            return Ok((made.clone(), Some(made)));
        }
        (self.console.password)("password")
            .map(|typed| (typed, None))
            .map_err(|e| {
                CommandError::Usage(format!(
                    "{e}; write it to standard input, or use --generate"
                ))
            })
    }

    fn print_generated(&mut self, made: Option<&SecretText>) {
        if let Some(made) = made {
            let text = format!("password  {}", made.expose());
            print_line(self.console.out, &text);
        }
    }

    pub(super) fn result<T: serde::Serialize>(
        &mut self,
        json: bool,
        value: &T,
        text: impl Fn(&T) -> String,
    ) -> Result<(), CommandError> {
        let text = if json {
            show::json(value)?
        } else {
            text(value)
        };
        print_line(self.console.out, &text);
        Ok(())
    }

    pub(super) fn note(&mut self, text: &str) {
        print_line(self.console.err, text);
    }

    /// Sends a request to the running server. Without one, executes it in this process.
    pub(super) fn ask(&mut self, request: Request) -> Result<Reply, CommandError> {
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
            Reply::Failed(message) => Err(CommandError::Failed(clean(&message))),
            reply => Ok(reply),
        }
    }

    /// Whether a server answers on the control socket.
    pub(super) fn is_served(&self) -> Result<bool, CommandError> {
        match &self.config.server.control {
            Some(socket) => Ok(call(socket, &Request::Health, owner(&self.config))?.is_some()),
            None => Ok(false),
        }
    }

    /// Executes a request in this process. The store stays open until the command is complete, so that a command
    /// with many requests opens it once.
    fn offline(
        &mut self,
        request: Request,
        socket: Option<&PathBuf>,
    ) -> Result<Reply, CommandError> {
        if self.config.is_volatile() {
            let none =
                "there is nothing to work on: the store is in memory and no server is running";
            return Err(CommandError::Failed(none.to_owned()));
        }
        let described = |error| match error {
            OfflineError::Failed(message) => CommandError::Failed(message),
            OfflineError::StoreLocked => CommandError::Failed(format!(
                "another process holds the store, yet no server answers on {}; use the \
                 configuration that the server was started with, or stop the other process",
                shown(socket)
            )),
        };
        let open = match self.offline.take() {
            Some(open) => open,
            None => self
                .app
                .open_offline(self.config.clone())
                .map_err(described)?,
        };
        self.offline
            .insert(open)
            .execute(request)
            .map_err(described)
    }

    /// Closes the store if the command has opened it.
    pub(super) fn close(&mut self) -> Result<(), CommandError> {
        match self.offline.take().map(Offline::close) {
            Some(Err(error)) => Err(CommandError::Failed(error.to_string())),
            Some(Ok(())) | None => Ok(()),
        }
    }
}

/// The user of a server with this configuration, if its files exist.
fn owner(config: &Config) -> Option<u32> {
    let keys = &config.tokens.keys_dir;
    files::owner_of(config.store.engine.directory().unwrap_or(keys))
}

/// Calls the server; `None` when none listens.
fn call(
    socket: &Path,
    request: &Request,
    owner: Option<u32>,
) -> Result<Option<Reply>, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|e| CommandError::Failed(e.to_string()))?;
    let deadline = if *request == Request::Health {
        PROBE
    } else {
        DEADLINE
    };
    match runtime.block_on(wire::call_of(socket, request, deadline, owner)) {
        Ok(reply) => Ok(Some(reply)),
        Err(CallError::NoServer) => Ok(None),
        Err(error @ CallError::Connect(_)) => Err(CommandError::Failed(format!(
            "{error}; {} belongs to the user that runs the server",
            socket.display()
        ))),
        Err(error) => Err(CommandError::Failed(error.to_string())),
    }
}

fn no_server(socket: Option<&PathBuf>) -> CommandError {
    CommandError::Failed(format!(
        "no server is running: nothing answers on {}",
        shown(socket)
    ))
}

pub(super) fn shown(socket: Option<&PathBuf>) -> String {
    socket.map_or_else(
        || "a control socket, since server.control is empty".to_owned(),
        |path| path.display().to_string(),
    )
}

/// The error for a reply of another kind: server and command line have different versions.
pub(super) fn unexpected(reply: &Reply) -> CommandError {
    let word = match reply {
        Reply::Done(text) => text.as_str(),
        Reply::Health { .. } => "health",
        Reply::User(_) | Reply::Users { .. } | Reply::UsersImported(_) => "users",
        Reply::Sessions { .. } => "sessions",
        Reply::Ended(_) | Reply::Ending(_) => "a count",
        Reply::BackupBegun(_) | Reply::BackupPage { .. } => "a backup",
        Reply::Keys(_) => "keys",
        Reply::Audit { .. } | Reply::AuditVerified(_) => "audit records",
        Reply::Failed(message) => message.as_str(),
    };
    CommandError::Failed(format!(
        "the server gave another answer than expected: {word}"
    ))
}

/// The deadline of a command: longer than the longest wait for the store and a password hash.
const DEADLINE: Duration = Duration::from_secs(90);
/// The deadline of a health check. A healthy server answers at once.
const PROBE: Duration = Duration::from_secs(5);
