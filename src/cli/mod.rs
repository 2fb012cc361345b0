//! How does a command line become a command, and with which exit code does it end?
//!
//! Commands about accounts, sessions, keys and the audit log are executed by the running server, over its
//! control socket. When no server runs, this process opens the store and executes them. Results are written to
//! standard output, errors to standard error. Exit codes: 0 success, 1 failure, 2 wrong usage or wrong
//! configuration.

mod app;
mod args;
mod backup;
mod check;
mod console;
mod error;
mod execute;
mod help;
mod import;
mod listing;
pub mod load;
mod password;
mod sessions;
mod show;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod users;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::args::{Args, Command, Serve};
use crate::cli::console::print_line;
use crate::cli::error::CommandError;
use crate::cli::execute::Executor;
use crate::cli::load::Loader;
use crate::control::Request;
use crate::files;
use crate::types::random::SystemRandom;

pub use crate::cli::app::{
    App, BackupFile, BackupPlan, FileView, Offline, RestorePlan, RestoreView, SalvageReport, Start,
    VerifyReport,
};
pub use crate::cli::console::Console;
pub use crate::cli::error::{Failure, OfflineError};

/// Runs the program with the arguments, environment and terminal of this process.
pub fn main(app: &dyn App) -> ExitCode {
    files::restrict_new_files();
    let mut err = io::stderr();
    let env = match load::environment() {
        Ok(env) => env,
        Err(name) => {
            print_line(
                &mut err,
                &format!("environment variable {name} is not UTF-8"),
            );
            return ExitCode::from(WRONG_USAGE);
        }
    };
    let console = &mut Console {
        out: &mut io::stdout(),
        err: &mut err,
        password: &mut password::read,
        env,
        random: &SystemRandom,
    };
    ExitCode::from(run(std::env::args_os(), app, console))
}

/// Runs the program with everything it uses as an argument. Returns the exit code.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    app: &dyn App,
    console: &mut Console<'_>,
) -> u8 {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            let text = error.render().to_string();
            if error.use_stderr() {
                print_line(console.err, text.trim_end());
                return WRONG_USAGE;
            }
            // `--help` and `--version`.
            print_line(console.out, text.trim_end());
            return SUCCESS;
        }
    };
    let loader = Loader::new(args.config, console.env.clone());
    match dispatch(args.command, loader, app, console) {
        Ok(()) => SUCCESS,
        Err(CommandError::Failed(message)) => {
            if !message.is_empty() {
                print_line(console.err, &format!("sidegate: {message}"));
            }
            FAILURE
        }
        Err(CommandError::Config(problems)) => {
            print_line(console.err, &problems.to_string());
            WRONG_USAGE
        }
        Err(CommandError::Usage(message)) => {
            print_line(console.err, &format!("sidegate: {message}"));
            WRONG_USAGE
        }
    }
}

fn dispatch(
    command: Command,
    loader: Loader,
    app: &dyn App,
    console: &mut Console<'_>,
) -> Result<(), CommandError> {
    if matches!(command, Command::Demo) {
        return Ok(app.demo()?);
    }
    if let Command::Check(check) = &command
        && check.defaults
    {
        check::defaults(console);
        return Ok(());
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
            return store::run(command, app, &config, console);
        }
        Command::Check(check) => return check::run(&config, &loader, check.json, console),
        _ => {}
    }
    let mut executor = Executor {
        app,
        config,
        console,
        offline: None,
    };
    let outcome = match command {
        Command::Serve(_) | Command::Demo | Command::Check(_) | Command::Store(_) => Ok(()),
        Command::Users(users) => executor.users(users),
        Command::Sessions(sessions) => executor.sessions(sessions),
        Command::Keys(keys) => executor.keys(&keys),
        Command::Audit(audit) => executor.audit(audit),
        Command::Backup(backup) => executor.backup(backup),
        Command::Restore(restore) => executor.restore(restore),
        Command::Healthcheck => executor.healthcheck(),
        Command::Drain => executor.order(Request::Drain),
        Command::Reload => executor.order(Request::Reload),
    };
    let closed = executor.close();
    outcome.and(closed)
}

const SUCCESS: u8 = 0;
const FAILURE: u8 = 1;
const WRONG_USAGE: u8 = 2;
