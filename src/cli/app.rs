//! What must the program provide to the command line?
//!
//! The command line parses and prints; [`App`] starts the server, opens the store and writes backups. `main.rs`
//! implements it, so that this module does not import `process`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::error::{Failure, OfflineError};
use crate::cli::load::Loader;
use crate::config::Config;
use crate::control::reply::BackupView;
use crate::control::{Reply, Request};
use crate::types::secret::SecretText;

/// The program behind the command line.
pub trait App {
    /// Runs the server until it is stopped. A reload calls the loader to read the same configuration again.
    fn serve(&self, config: Config, loader: Loader, start: Start) -> Result<(), Failure>;

    /// Runs the demonstration until it is stopped.
    fn demo(&self) -> Result<(), Failure>;

    /// Starts to write a backup.
    fn begin_backup<'a>(
        &'a self,
        config: &Config,
        plan: BackupPlan,
    ) -> Result<Box<dyn BackupFile + 'a>, Failure>;

    /// Replaces the store with a backup. Called only when no server answers.
    fn restore(&self, config: Config, plan: RestorePlan<'_>) -> Result<RestoreView, OfflineError>;

    /// Reads and checks all records of the configured store. Changes nothing.
    fn verify_store(
        &self,
        config: &Config,
        progress: &mut dyn FnMut(u64),
    ) -> Result<VerifyReport, OfflineError>;

    /// Creates a new store from the readable records of the configured one.
    fn salvage_store(
        &self,
        config: &Config,
        to: &Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<SalvageReport, OfflineError>;

    /// Opens the configured store, to execute requests in this process. Called only when no server
    /// answers.
    fn open_offline<'a>(&'a self, config: Config) -> Result<Box<dyn Offline + 'a>, OfflineError>;
}

/// The store, opened by this process for one command.
pub trait Offline {
    /// Executes one request.
    fn execute(&mut self, request: Request) -> Result<Reply, OfflineError>;

    /// Closes the store.
    fn close(self: Box<Self>) -> Result<(), OfflineError>;
}

/// Actions of a start that need an explicit permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Start {
    /// Create an empty store although keys exist.
    pub new_store: bool,
    /// Continue with keys that do not belong to the store.
    pub new_keys: bool,
}

/// The parameters of a backup.
#[derive(Debug)]
pub struct BackupPlan {
    /// The file, or a directory for one.
    pub to: PathBuf,
    /// Encrypts the keys. `None`: the backup contains no keys.
    pub passphrase: Option<SecretText>,
    /// The snapshot that the server has opened.
    pub begun: BackupView,
}

/// A backup that is being written. Dropping it before [`BackupFile::finish`] removes the file.
pub trait BackupFile {
    /// Adds records. Returns the number of records so far.
    fn add(&mut self, data: &str) -> Result<u64, Failure>;

    /// Completes the file and moves it to its final name.
    fn finish(self: Box<Self>) -> Result<FileView, Failure>;
}

/// A complete backup, as it is printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileView {
    /// The file.
    pub file: PathBuf,
    /// The number of records.
    pub records: u64,
    /// The size of the file.
    pub bytes: u64,
    /// Whether it contains the keys.
    pub with_keys: bool,
    /// The SHA-256 of the content.
    pub sha256: String,
}

/// The parameters of a restore.
pub struct RestorePlan<'a> {
    /// The backup.
    pub file: PathBuf,
    /// Whether the sessions of the backup stay valid.
    pub keep_sessions: bool,
    /// Whether an existing store is moved aside.
    pub replace: bool,
    /// Whether data that needs the keys of the backup is discarded.
    pub reset_factors: bool,
    /// The passphrase, if a file contains it.
    pub passphrase: Option<SecretText>,
    /// Asks for the passphrase.
    pub ask: &'a mut dyn FnMut() -> Result<SecretText, Failure>,
    /// Shows the progress.
    pub progress: &'a mut dyn FnMut(&str),
}

/// The result of a restore, as it is printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RestoreView {
    /// The store's directory.
    pub store: PathBuf,
    /// When the backup was made, ISO 8601.
    pub made_at: String,
    /// The number of records in the store.
    pub records: u64,
    /// The number of sessions in the backup.
    pub sessions: u64,
    /// Whether they stay valid.
    pub sessions_kept: bool,
    /// The origin of the keys: `kept` or `restored`; `other` when they are not those of the backup.
    pub keys: String,
    /// The former store, if one was moved aside.
    pub replaced: Option<PathBuf>,
    /// The SHA-256 of the content.
    pub sha256: String,
}

impl std::fmt::Debug for RestorePlan<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RestorePlan")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// The result of `sidegate store verify`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyReport {
    /// Whether no damage was found.
    pub sound: bool,
    /// The directory of the store.
    pub directory: String,
    /// The id of the store.
    pub store: Option<String>,
    /// The last commit in the log.
    pub commit: Option<u64>,
    /// The last commit that was acknowledged.
    pub acknowledged: Option<u64>,
    /// The number of records that were read.
    pub records: u64,
    /// The damage that was found.
    pub problems: Vec<String>,
    /// Damage that the next start repairs by itself.
    pub notes: Vec<String>,
}

/// The result of `sidegate store salvage`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SalvageReport {
    /// The directory of the new store.
    pub directory: String,
    /// Accounts that were kept.
    pub users: u64,
    /// Counters of failed log-ins that were kept.
    pub lockouts: u64,
    /// Audit lines that were kept.
    pub audit_lines: u64,
    /// Other records that were kept.
    pub others: u64,
    /// Sessions that were read. They are ended.
    pub sessions_ended: u64,
    /// Login names that two accounts claim.
    pub logins_claimed_twice: u64,
    /// Records that are damaged.
    pub damaged_records: u64,
    /// Damaged parts of the log that were skipped.
    pub damaged_stretches: u64,
    /// Pages that could not be read.
    pub unreadable_pages: u64,
}
