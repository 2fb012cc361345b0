//! Which commands and arguments exist?
//!
//! The doc comments are the help texts. A password is never an argument: every user of the machine can see
//! arguments.

use std::path::PathBuf;

use clap::{Args as Group, Parser, Subcommand};

use crate::cli::help;
use crate::control::import::Format;
use crate::control::request::{AuditAction, Since};
use crate::types::ids::SessionId;
use crate::types::login::{BadLogin, LoginName};
use crate::types::named::Named;
use crate::types::role::Role;

/// Runs in front of any HTTP application: logs users in and guards every request
#[derive(Debug, Parser)]
#[command(name = "sidegate", version, after_help = help::TOP)]
pub(super) struct Args {
    /// The configuration file [default: ./config.toml, if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the server
    #[command(after_help = help::SERVE)]
    Serve(Serve),
    /// Try it: a small application, two users and a temporary store in one process
    #[command(after_help = help::DEMO)]
    Demo,
    /// Parse and explain the configuration
    #[command(after_help = help::CHECK)]
    Check(Check),
    /// Manage accounts
    #[command(subcommand, after_help = help::USERS)]
    Users(Users),
    /// List and end sessions
    #[command(subcommand, after_help = help::SESSIONS)]
    Sessions(Sessions),
    /// List and rotate signing keys
    #[command(subcommand, after_help = help::KEYS)]
    Keys(Keys),
    /// Read the audit log
    #[command(subcommand, after_help = help::AUDIT)]
    Audit(Audit),
    /// Copy the store into one file, while the server runs or not
    #[command(after_help = help::BACKUP)]
    Backup(Backup),
    /// Replace the store with a backup; the server must not run
    #[command(after_help = help::RESTORE)]
    Restore(Restore),
    /// Check the store, or create a new one from a damaged one
    #[command(subcommand, after_help = help::STORE)]
    Store(Store),
    /// Exit 0 when the running server is ready
    #[command(after_help = help::HEALTHCHECK)]
    Healthcheck,
    /// Take the running server out of rotation; it answers requests until it is stopped
    #[command(after_help = help::DRAIN)]
    Drain,
    /// Make the running server read its configuration and keys again
    #[command(after_help = help::RELOAD)]
    Reload,
}

#[derive(Debug, Clone, Copy, Group)]
pub(super) struct Check {
    /// Print config.toml instead: every key with its meaning and its default
    #[arg(long, conflicts_with = "json")]
    pub(super) defaults: bool,
    #[command(flatten)]
    pub(super) json: Json,
}

#[derive(Debug, Clone, Copy, Group)]
pub(super) struct Serve {
    /// Create an empty store although keys exist; the store that they belong to is abandoned
    #[arg(long)]
    pub(super) new_store: bool,
    /// Continue with a key directory that does not belong to the store; all users must log in again
    #[arg(long)]
    pub(super) new_keys: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Users {
    /// Add an account; its password is read from standard input
    #[command(after_help = help::USERS_ADD)]
    Add {
        /// The username
        #[arg(value_parser = username)]
        name: String,
        /// E-mail address
        #[arg(long, value_parser = email)]
        email: Option<String>,
        /// Mobile number, such as +491511234567
        #[arg(long, value_parser = mobile)]
        mobile: Option<String>,
        /// The person's name
        #[arg(long = "name", value_name = "TEXT")]
        shown: Option<String>,
        /// A role; may be repeated, the first is the main role
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<Role>,
        #[command(flatten)]
        password: PasswordFrom,
        #[command(flatten)]
        json: Json,
    },
    /// Add the accounts of a file, with the password hashes of another system
    #[command(after_help = help::USERS_IMPORT)]
    Import(Import),
    /// List accounts
    #[command(after_help = help::USERS_LIST)]
    List {
        /// The most accounts to list
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
        limit: u32,
        /// Start after the account with this id
        #[arg(long, value_name = "ID")]
        after: Option<String>,
        #[command(flatten)]
        json: Json,
    },
    /// Show one account
    #[command(after_help = help::USERS_SHOW)]
    Show {
        #[command(flatten)]
        user: Who,
        #[command(flatten)]
        json: Json,
    },
    /// Set a password from standard input; the account's sessions end
    #[command(after_help = help::USERS_SET_PASSWORD)]
    SetPassword {
        #[command(flatten)]
        user: Who,
        #[command(flatten)]
        password: PasswordFrom,
    },
    /// Replace the roles
    #[command(after_help = help::USERS_SET_ROLES)]
    SetRoles {
        #[command(flatten)]
        user: Who,
        /// The roles, the main role first; without any, all are removed
        roles: Vec<Role>,
    },
    /// Permit an account to log in again
    #[command(after_help = "Example:\n  sidegate users enable ann")]
    Enable(Who),
    /// Refuse log-ins and end all sessions
    #[command(after_help = "Example:\n  sidegate users disable ann")]
    Disable(Who),
    /// Reset the counter of failed log-ins
    #[command(after_help = "Example:\n  sidegate users unlock ann@example.org")]
    Unlock(Who),
    /// Confirm that an account's e-mail address and mobile number belong to the person
    #[command(after_help = "Example:\n  sidegate users verify ann")]
    Verify(Who),
    /// Delete an account and end its sessions
    #[command(after_help = "Example:\n  sidegate users delete ann")]
    Delete(Who),
}

#[derive(Debug, Group)]
pub(super) struct Import {
    /// The file: htpasswd, CSV or JSON lines
    pub(super) file: PathBuf,
    /// htpasswd, csv or jsonl [default: what the name of the file ends with]
    #[arg(long)]
    pub(super) format: Option<Format>,
    /// A role for accounts whose line has none; may be repeated
    #[arg(long = "role", value_name = "ROLE")]
    pub(super) roles: Vec<Role>,
    /// Check every line and write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) json: Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Sessions {
    /// List live sessions
    #[command(after_help = help::SESSIONS_LIST)]
    List {
        /// Of this user only: id, username, e-mail address or mobile number
        #[arg(long)]
        user: Option<Named>,
        /// The most sessions to list
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
        limit: u32,
        #[command(flatten)]
        json: Json,
    },
    /// End sessions: one, those of a user, or all
    #[command(after_help = help::SESSIONS_END)]
    End {
        #[command(flatten)]
        which: Ending,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Group)]
#[group(required = true, multiple = false)]
pub(super) struct Ending {
    /// One session
    #[arg(long)]
    pub(super) id: Option<SessionId>,
    /// All sessions of this user
    #[arg(long)]
    pub(super) user: Option<Named>,
    /// All sessions of all users
    #[arg(long)]
    pub(super) all: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// List signing keys
    #[command(after_help = "Examples:\n  sidegate keys list\n  sidegate keys list --json")]
    List {
        #[command(flatten)]
        json: Json,
    },
    /// Create a key; it signs when all verifiers can have read it
    #[command(after_help = "Example:\n  sidegate keys rotate")]
    Rotate {
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// List audit records, newest first
    #[command(after_help = help::AUDIT)]
    List {
        /// About this user only: id, username, e-mail address or mobile number
        #[arg(long)]
        user: Option<Named>,
        /// Of this type only, such as login or reuse
        #[arg(long = "type", value_name = "TYPE")]
        action: Option<AuditAction>,
        /// Since then only: an age (7d), a date (2026-11-22) or a time (2026-11-22T16:07:00Z)
        #[arg(long)]
        since: Option<Since>,
        /// The most records to list
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        #[command(flatten)]
        json: Json,
    },
    /// Check every line of the audit files; exits 1 when one is damaged or missing
    #[command(after_help = help::AUDIT_VERIFY)]
    Verify {
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Group)]
pub(super) struct Backup {
    /// The file to write, or a directory for a file with the time in its name
    #[arg(value_name = "FILE|DIR")]
    pub(super) to: PathBuf,
    /// Include the private keys, encrypted with a passphrase
    #[arg(long)]
    pub(super) with_keys: bool,
    /// Read the passphrase from this file instead of asking for it
    #[arg(long, value_name = "FILE", requires = "with_keys")]
    pub(super) passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) json: Json,
}

#[derive(Debug, Group)]
pub(super) struct Restore {
    /// The backup
    pub(super) file: PathBuf,
    /// Keep the sessions of the backup, including those that ended after it was made
    #[arg(long)]
    pub(super) keep_sessions: bool,
    /// Move an existing store aside
    #[arg(long)]
    pub(super) replace: bool,
    /// Restore without the keys that the store was used with; what they encrypted is lost
    #[arg(long)]
    pub(super) reset_factors: bool,
    /// Read the passphrase of the keys from this file instead of asking for it
    #[arg(long, value_name = "FILE")]
    pub(super) passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) json: Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Store {
    /// Read every record and compare it with what was acknowledged; nothing is changed
    #[command(after_help = help::STORE_VERIFY)]
    Verify {
        #[command(flatten)]
        json: Json,
    },
    /// Copy what can still be read of a damaged store into a new one; every session ends
    #[command(after_help = help::STORE_SALVAGE)]
    Salvage {
        /// The directory of the new store; it must not exist
        #[arg(value_name = "NEW-DIR")]
        directory: PathBuf,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Clone, Copy, Group)]
pub(super) struct Json {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Clone, Copy, Group)]
pub(super) struct PasswordFrom {
    /// Generate a random password and print it, instead of reading one
    #[arg(long)]
    pub(super) generate: bool,
}

#[derive(Debug, Group)]
pub(super) struct Who {
    /// Id, username, e-mail address or mobile number
    pub(super) user: Named,
}

fn username(text: &str) -> Result<String, BadLogin> {
    LoginName::username(text).map(|_| text.to_owned())
}

fn email(text: &str) -> Result<String, BadLogin> {
    LoginName::email(text).map(|_| text.to_owned())
}

fn mobile(text: &str) -> Result<String, BadLogin> {
    LoginName::mobile(text).map(|_| text.to_owned())
}
