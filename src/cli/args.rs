//! The command line's grammar. Help texts are part of the product: each command shows how it is
//! used. A password is never an argument, because arguments are visible to every user of the machine.

use std::path::PathBuf;

use clap::{Args as Group, Parser, Subcommand};

use crate::control::request::{AuditAction, Since};
use crate::types::ids::SessionId;
use crate::types::login::{BadLogin, LoginName};
use crate::types::named::Named;
use crate::types::role::Role;

/// Stands in front of any HTTP application: logs people in, guards every request.
#[derive(Debug, Parser)]
#[command(name = "sidegate", version, after_help = TOP)]
pub(super) struct Args {
    /// The configuration file; ./config.toml when it is there and no other is named
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the server
    #[command(after_help = SERVE)]
    Serve(Serve),
    /// Try it: a small application, two users and a throw-away store in one process
    #[command(after_help = DEMO)]
    Demo,
    /// Parse and explain the configuration
    #[command(after_help = CHECK)]
    Check {
        #[command(flatten)]
        json: Json,
    },
    /// Manage accounts
    #[command(subcommand, after_help = USERS)]
    Users(Users),
    /// List and end sessions
    #[command(subcommand, after_help = SESSIONS)]
    Sessions(Sessions),
    /// List and rotate signing keys
    #[command(subcommand, after_help = KEYS)]
    Keys(Keys),
    /// Read the audit log
    #[command(subcommand, after_help = AUDIT)]
    Audit(Audit),
    /// Copy the store into one file, while the server runs or not
    #[command(after_help = BACKUP)]
    Backup(Backup),
    /// Put a backup in the place of the store; the server must not run
    #[command(after_help = RESTORE)]
    Restore(Restore),
    /// Look into the store, or make a new one from a damaged one
    #[command(subcommand, after_help = STORE)]
    Store(Store),
    /// Exit 0 when the running server is ready
    #[command(after_help = HEALTHCHECK)]
    Healthcheck,
    /// Tell the running server to take itself out of rotation; it goes on answering until it is stopped
    #[command(after_help = DRAIN)]
    Drain,
    /// Tell the running server to read its configuration and keys again
    #[command(after_help = RELOAD)]
    Reload,
}

#[derive(Debug, Clone, Copy, Group)]
pub(super) struct Serve {
    /// Found an empty store although there are keys: the store that they belong to is given up
    #[arg(long)]
    pub(super) new_store: bool,
    /// Go on with a key directory that does not belong to the store; everybody has to log in again
    #[arg(long)]
    pub(super) new_keys: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Users {
    /// Add an account; its password comes from standard input
    #[command(after_help = USERS_ADD)]
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
        /// A role; may be given several times, the first is the main one
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<Role>,
        #[command(flatten)]
        password: PasswordFrom,
        #[command(flatten)]
        json: Json,
    },
    /// List accounts
    #[command(after_help = USERS_LIST)]
    List {
        /// The most accounts to list
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
        limit: u32,
        /// Begin after the account with this id
        #[arg(long, value_name = "ID")]
        after: Option<String>,
        #[command(flatten)]
        json: Json,
    },
    /// Show one account
    #[command(after_help = USERS_SHOW)]
    Show {
        #[command(flatten)]
        user: Who,
        #[command(flatten)]
        json: Json,
    },
    /// Set a password from standard input; the account's sessions end
    #[command(after_help = USERS_SET_PASSWORD)]
    SetPassword {
        #[command(flatten)]
        user: Who,
        #[command(flatten)]
        password: PasswordFrom,
    },
    /// Replace the roles
    #[command(after_help = USERS_SET_ROLES)]
    SetRoles {
        #[command(flatten)]
        user: Who,
        /// The roles, main one first; none takes all away
        roles: Vec<Role>,
    },
    /// Let an account log in again
    #[command(after_help = "Example:\n  sidegate users enable ann")]
    Enable(Who),
    /// Refuse log-ins and end all sessions
    #[command(after_help = "Example:\n  sidegate users disable ann")]
    Disable(Who),
    /// Forget failed log-ins
    #[command(after_help = "Example:\n  sidegate users unlock ann@example.org")]
    Unlock(Who),
    /// Confirm that an account's e-mail address and mobile number belong to the person
    #[command(after_help = "Example:\n  sidegate users verify ann")]
    Verify(Who),
    /// Delete an account and end its sessions
    #[command(after_help = "Example:\n  sidegate users delete ann")]
    Delete(Who),
}

#[derive(Debug, Subcommand)]
pub(super) enum Sessions {
    /// List live sessions
    #[command(after_help = SESSIONS_LIST)]
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
    /// End sessions: one, a user's, or everybody's
    #[command(after_help = SESSIONS_END)]
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
    /// All sessions of everybody
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
    /// Make a key that signs as soon as every verifier can know it
    #[command(after_help = "Example:\n  sidegate keys rotate")]
    Rotate {
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// List audit records, newest first
    #[command(after_help = AUDIT)]
    List {
        /// About this user only: id, username, e-mail address or mobile number
        #[arg(long)]
        user: Option<Named>,
        /// Of this type only, such as login or reuse
        #[arg(long = "type", value_name = "TYPE")]
        action: Option<AuditAction>,
        /// From then on only: how long ago (7d), a date (2026-11-22) or a moment (2026-11-22T16:07:00Z)
        #[arg(long)]
        since: Option<Since>,
        /// The most records to list
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        #[command(flatten)]
        json: Json,
    },
    /// Look at every line of the audit files; exits 1 when one is damaged or missing
    #[command(after_help = AUDIT_VERIFY)]
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
    /// Put the private keys into the file, sealed with a passphrase
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
    /// Let the sessions of the backup go on; those that ended since it was made come back, too
    #[arg(long)]
    pub(super) keep_sessions: bool,
    /// Move a store that is there aside
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
    #[command(after_help = STORE_VERIFY)]
    Verify {
        #[command(flatten)]
        json: Json,
    },
    /// Copy what can still be read of a damaged store into a new one; every session ends
    #[command(after_help = STORE_SALVAGE)]
    Salvage {
        /// Where the new store is made; a directory that does not exist
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
    /// Make a random password and print it, instead of reading one
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

const TOP: &str = "\
Examples:
  sidegate demo                            see it work, nothing to set up
  sidegate check                           explain ./config.toml
  sidegate users add ann --role admin      asks for a password
  sidegate serve --config /etc/sidegate/config.toml

Every key of the configuration can be set by the environment: SIDEGATE__UPSTREAM__URL.
Exit codes: 0 done, 1 failed, 2 wrong use or wrong configuration.";
const SERVE: &str = "\
Examples:
  sidegate serve
  sidegate serve --config /etc/sidegate/config.toml
  SIDEGATE__UPSTREAM__URL=http://127.0.0.1:3000 sidegate serve
  sidegate serve --new-store               once, after the store was lost: begins with an empty one";
const DEMO: &str = "\
Example:
  sidegate demo        prints two users with passwords and lines to paste";
const CHECK: &str = "\
Examples:
  sidegate check
  sidegate check --config staging.toml --json

Exits 2 and tells file, line, key and a hint for each mistake.";
const USERS: &str = "\
A user is named by id, username, e-mail address or mobile number.

Examples:
  sidegate users add ann --email ann@example.org --role admin
  sidegate users list --json
  sidegate users unlock ann";
const USERS_ADD: &str = "\
Examples:
  sidegate users add ann --role user                    asks for the password
  sidegate users add ann --generate                     prints the password
  sidegate users add ann --email ann@example.org < password.txt";
const USERS_LIST: &str = "\
Examples:
  sidegate users list
  sidegate users list --limit 100 --json";
const USERS_SHOW: &str = "\
Examples:
  sidegate users show ann
  sidegate users show ann@example.org --json";
const USERS_SET_PASSWORD: &str = "\
Examples:
  sidegate users set-password ann                       asks for the password
  sidegate users set-password ann --generate
  sidegate users set-password ann < password.txt";
const USERS_SET_ROLES: &str = "\
Examples:
  sidegate users set-roles ann admin user
  sidegate users set-roles ann                          takes all roles away";
const SESSIONS: &str = "\
Examples:
  sidegate sessions list --user ann
  sidegate sessions end --user ann";
const SESSIONS_LIST: &str = "\
Examples:
  sidegate sessions list
  sidegate sessions list --user ann --json
  sidegate sessions list --limit 1000000 --json > sessions.json";
const SESSIONS_END: &str = "\
Examples:
  sidegate sessions end --id 0193b0a0-5c1e-7d3a-9b1f-2f6c1a7e4d10
  sidegate sessions end --user ann@example.org
  sidegate sessions end --all

With --all every session is over at once, however many there are. The command then waits until
their records are removed and shows how far that has come; it can be interrupted, and run again.";
const KEYS: &str = "\
Examples:
  sidegate keys list
  sidegate keys rotate";
const AUDIT: &str = "\
Examples:
  sidegate audit list
  sidegate audit list --user ann --limit 20 --json
  sidegate audit list --type login --since 7d
  sidegate audit verify";
const AUDIT_VERIFY: &str = "\
Examples:
  sidegate audit verify
  sidegate audit verify --json";
const BACKUP: &str = "\
Examples:
  sidegate backup /var/backups/sidegate/                makes sidegate-<time>.backup there
  sidegate backup today.backup
  sidegate backup today.backup --with-keys              asks for a passphrase
  sidegate backup today.backup --with-keys --passphrase-file /etc/sidegate/passphrase

The file holds the store as it was at one moment; requests go on meanwhile. It holds password
hashes: keep it as safe as the store. A file of that name is replaced once the new one is complete.
Private keys are left out without --with-keys: keep a copy of tokens.keys_dir beside the backup.";
const RESTORE: &str = "\
Examples:
  sidegate restore today.backup                         where there is no store
  sidegate restore today.backup --replace               the store that is there is moved aside
  sidegate restore today.backup --keep-sessions

The file is checked as a whole before anything is changed. Keys that are there are kept. Every
session of the backup is over, since nobody can know which ended after it was made; with
--keep-sessions they go on, and those come back, too.";
const STORE: &str = "\
Examples:
  sidegate store verify
  sidegate store salvage ./data-salvaged";
const STORE_VERIFY: &str = "\
Examples:
  sidegate store verify
  sidegate store verify --json

The server must be stopped. Exits 0 when the store is sound and 1 when it is damaged.";
const STORE_SALVAGE: &str = "\
Examples:
  sidegate store salvage ./data-salvaged
  sidegate store salvage ./data-salvaged --json

The damaged store is not changed.";
const HEALTHCHECK: &str = "\
Example, for an image without a shell:
  HEALTHCHECK CMD [\"/sidegate\", \"healthcheck\"]";
const DRAIN: &str = "\
Example:
  sidegate drain        /readyz says no, connections close after their answer; then send SIGTERM";
const RELOAD: &str = "\
Example:
  sidegate reload       a wrong configuration is refused and the old one stays";
