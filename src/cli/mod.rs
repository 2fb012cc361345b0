//! The command line: understand, do, tell.
//!
//! Commands about accounts, sessions, keys and the audit log are carried out by the running server,
//! over its control socket; when none runs, in this process. Results go to standard output, mistakes
//! to standard error with what to do about them. Exit codes: 0 done, 1 failed, 2 wrong use or wrong
//! configuration.

mod args;
mod backup;
mod check;
mod execute;
mod listing;
pub mod load;
mod password;
mod sessions;
mod show;
pub mod store;
mod table;
#[cfg(test)]
mod tests;
mod users;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::args::{Args, Command, Serve};
pub use crate::cli::backup::{BackupFile, BackupPlan, FileView, RestorePlan, RestoreView};
use crate::cli::execute::Operator;
use crate::cli::load::Loader;
use crate::cli::store::{SalvageReport, VerifyReport};
use crate::config::Config;
use crate::config::problem::Problems;
use crate::control::Reply;
use crate::control::Request;
use crate::files;
use crate::types::random::{Random, SystemRandom};
use crate::types::secret::SecretText;

/// What the command line starts but does not know how to do.
pub trait App {
    /// Runs the server until it is told to stop. The loader reads the same configuration again, for
    /// reloads.
    fn serve(&self, config: Config, loader: Loader, start: Start) -> Result<(), Failure>;

    /// Runs the demonstration until it is told to stop.
    fn demo(&self) -> Result<(), Failure>;

    /// Begins to write a backup.
    fn begin_backup<'a>(
        &'a self,
        config: &Config,
        plan: BackupPlan,
    ) -> Result<Box<dyn BackupFile + 'a>, Failure>;

    /// Puts a backup in the place of the store. Called only when no server answers.
    fn restore(&self, config: Config, plan: RestorePlan<'_>) -> Result<RestoreView, OfflineError>;

    /// Reads everything in the store that the configuration names, without changing it.
    fn verify_store(
        &self,
        config: &Config,
        progress: &mut dyn FnMut(u64),
    ) -> Result<VerifyReport, OfflineError>;

    /// Makes a new store from what can still be read of the one that the configuration names.
    fn salvage_store(
        &self,
        config: &Config,
        to: &Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<SalvageReport, OfflineError>;

    /// Opens the store that the configuration names, to carry out requests in this process. Called
    /// only when no server answers.
    fn open_offline<'a>(&'a self, config: Config) -> Result<Box<dyn Offline + 'a>, OfflineError>;
}

/// The store, held by the command line for as long as its command takes.
pub trait Offline {
    /// Carries out one request.
    fn execute(&mut self, request: Request) -> Result<Reply, OfflineError>;

    /// Closes the store.
    fn close(self: Box<Self>) -> Result<(), OfflineError>;
}

/// What a start may do that it does not do by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Start {
    /// Found an empty store although there are keys.
    pub new_store: bool,
    /// Go on with keys that do not belong to the store.
    pub new_keys: bool,
}

/// Why something that was understood did not work, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

impl Failure {
    /// A failure whose words are in the process log already.
    pub fn reported() -> Self {
        Self(String::new())
    }
}

/// Why a request could not be carried out without a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfflineError {
    /// Another process holds the store.
    #[error("another process holds the store")]
    StoreLocked,
    /// Anything else, in words for the operator.
    #[error("{0}")]
    Failed(String),
}

/// Where the command line reads and writes.
pub struct Surroundings<'a> {
    /// For results.
    pub out: &'a mut dyn Write,
    /// For mistakes and questions.
    pub err: &'a mut dyn Write,
    /// Reads a password after showing a question.
    pub password: &'a mut dyn FnMut(&str) -> io::Result<SecretText>,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// For generated passwords.
    pub random: &'a dyn Random,
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Surroundings(..)")
    }
}

/// The program, with the process's own arguments, environment and terminal.
pub fn main(app: &dyn App) -> ExitCode {
    files::restrict_new_files();
    let mut err = io::stderr();
    let env = match load::environment() {
        Ok(env) => env,
        Err(name) => {
            tell(
                &mut err,
                &format!("environment variable {name} is not UTF-8"),
            );
            return ExitCode::from(WRONG_USE);
        }
    };
    let surroundings = &mut Surroundings {
        out: &mut io::stdout(),
        err: &mut err,
        password: &mut password::read,
        env,
        random: &SystemRandom,
    };
    ExitCode::from(run(std::env::args_os(), app, surroundings))
}

/// The program with everything it touches as an argument. Returns the exit code.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    app: &dyn App,
    surroundings: &mut Surroundings<'_>,
) -> u8 {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            let text = error.render().to_string();
            if error.use_stderr() {
                tell(surroundings.err, text.trim_end());
                return WRONG_USE;
            }
            // Help and version were asked for.
            tell(surroundings.out, text.trim_end());
            return DONE;
        }
    };
    let loader = Loader::new(args.config, surroundings.env.clone());
    match dispatch(args.command, loader, app, surroundings) {
        Ok(()) => DONE,
        Err(Trouble::Failed(message)) => {
            if !message.is_empty() {
                tell(surroundings.err, &format!("sidegate: {message}"));
            }
            FAILED
        }
        Err(Trouble::Config(problems)) => {
            tell(surroundings.err, &problems.to_string());
            WRONG_USE
        }
        Err(Trouble::Use(message)) => {
            tell(surroundings.err, &format!("sidegate: {message}"));
            WRONG_USE
        }
    }
}

fn dispatch(
    command: Command,
    loader: Loader,
    app: &dyn App,
    surroundings: &mut Surroundings<'_>,
) -> Result<(), Trouble> {
    if matches!(command, Command::Demo) {
        return Ok(app.demo()?);
    }
    let config = loader.load()?;
    match &command {
        Command::Serve(Serve {
            new_store,
            new_keys,
        }) => {
            let start = Start {
                new_store: *new_store,
                new_keys: *new_keys,
            };
            return Ok(app.serve(config, loader, start)?);
        }
        Command::Store(_) => {
            let Command::Store(command) = command else {
                return Ok(());
            };
            return store::run(command, app, &config, surroundings);
        }
        Command::Check { json } => return check::run(&config, &loader, *json, surroundings),
        _ => {}
    }
    let mut operator = Operator {
        app,
        config,
        surroundings,
        offline: None,
    };
    let outcome = match command {
        Command::Serve(_) | Command::Demo | Command::Check { .. } | Command::Store(_) => Ok(()),
        Command::Users(users) => operator.users(users),
        Command::Sessions(sessions) => operator.sessions(sessions),
        Command::Keys(keys) => operator.keys(&keys),
        Command::Audit(audit) => operator.audit(audit),
        Command::Backup(backup) => operator.backup(backup),
        Command::Restore(restore) => operator.restore(restore),
        Command::Healthcheck => operator.healthcheck(),
        Command::Drain => operator.order(Request::Drain),
        Command::Reload => operator.order(Request::Reload),
    };
    let closed = operator.close();
    outcome.and(closed)
}

/// Why a command did not do what it was asked to.
#[derive(Debug)]
enum Trouble {
    /// Exit code 1.
    Failed(String),
    /// The configuration is wrong; exit code 2.
    Config(Problems),
    /// It was used wrongly; exit code 2.
    Use(String),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure.0)
    }
}

impl From<Problems> for Trouble {
    fn from(problems: Problems) -> Self {
        Self::Config(problems)
    }
}

/// Writes a line. A reader that has gone away (`| head`) is no reason to complain.
fn tell(to: &mut dyn Write, text: &str) {
    drop(writeln!(to, "{text}"));
    drop(to.flush());
}

const DONE: u8 = 0;
const FAILED: u8 = 1;
const WRONG_USE: u8 = 2;
