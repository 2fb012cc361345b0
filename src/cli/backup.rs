//! `sidegate backup` and `sidegate restore`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::cli::args::{Backup, Restore};
use crate::cli::execute::{Operator, unexpected};
use crate::cli::table::facts;
use crate::cli::{Failure, OfflineError, Trouble, load, show, tell};
use crate::control::Reply;
use crate::control::Request;
use crate::control::reply::BackupView;
use crate::types::secret::SecretText;
use crate::types::time::Stopwatch;

/// How often progress is shown.
const PROGRESS: Duration = Duration::from_secs(1);

/// What a backup is to be.
#[derive(Debug)]
pub struct BackupPlan {
    /// The file, or a directory for one.
    pub to: PathBuf,
    /// Seals the keys, when they are to be in it.
    pub passphrase: Option<SecretText>,
    /// What is saved.
    pub begun: BackupView,
}

/// A backup that is being written. Dropped before its end, it leaves nothing behind.
pub trait BackupFile {
    /// Adds records, and says how many there are so far.
    fn add(&mut self, data: &str) -> Result<u64, Failure>;

    /// Completes the file and gives it its name.
    fn finish(self: Box<Self>) -> Result<FileView, Failure>;
}

/// A backup that is complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileView {
    /// The file.
    pub file: PathBuf,
    /// How many records it holds.
    pub records: u64,
    /// How long it is.
    pub bytes: u64,
    /// Whether it holds the keys.
    pub with_keys: bool,
    /// The SHA-256 of the content.
    pub sha256: String,
}

/// How a backup is to be restored.
pub struct RestorePlan<'a> {
    /// The backup.
    pub file: PathBuf,
    /// Whether sessions go on.
    pub keep_sessions: bool,
    /// Whether a store that is there is moved aside.
    pub replace: bool,
    /// Whether what needs the keys of the backup is given up.
    pub reset_factors: bool,
    /// The passphrase, when it was given in a file.
    pub passphrase: Option<SecretText>,
    /// Asks for the passphrase.
    pub ask: &'a mut dyn FnMut() -> Result<SecretText, Failure>,
    /// Shows how far it has come.
    pub progress: &'a mut dyn FnMut(&str),
}

/// A backup that was restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RestoreView {
    /// The store's directory.
    pub store: PathBuf,
    /// When the backup was made, ISO 8601.
    pub made_at: String,
    /// How many records the store holds.
    pub records: u64,
    /// How many sessions the backup held.
    pub sessions: u64,
    /// Whether they go on.
    pub sessions_kept: bool,
    /// Where the keys come from: `kept` or `restored`; `other` when they are not those of the backup.
    pub keys: String,
    /// Where the store is that was there before.
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

impl Operator<'_, '_> {
    /// `sidegate backup`.
    pub(super) fn backup(&mut self, args: Backup) -> Result<(), Trouble> {
        let passphrase = match (&args.passphrase_file, args.with_keys) {
            (Some(file), _) => Some(read_passphrase(file)?),
            (None, true) => Some(
                (self.surroundings.password)("passphrase for the keys")
                    .map_err(|e| Trouble::Use(format!("{e}; or use --passphrase-file")))?,
            ),
            (None, false) => None,
        };
        let begun = match self.ask(Request::BackupBegin)? {
            Reply::BackupBegun(begun) => begun,
            other => return Err(unexpected(&other)),
        };
        let id = begun.id;
        let plan = BackupPlan {
            to: args.to,
            passphrase,
            begun: begun.clone(),
        };
        let written = self.write_backup(plan);
        if written.is_err() {
            // The server need not wait for a minute to forget it; the first error is the one to tell.
            drop(self.ask(Request::BackupEnd { id }));
        }
        let file = written?;
        let text = if args.json.json {
            let mut value = serde_json::to_value(&file).unwrap_or_default();
            for (key, number) in [("sessions", begun.sessions), ("users", begun.users)] {
                if let Some(map) = value.as_object_mut() {
                    map.insert(key.to_owned(), number.into());
                }
            }
            show::json(&value)?
        } else {
            facts(&[
                ("backup", file.file.display().to_string()),
                ("made", begun.at.to_string()),
                ("accounts", begun.users.to_string()),
                ("sessions", begun.sessions.to_string()),
                ("records", file.records.to_string()),
                ("bytes", file.bytes.to_string()),
                (
                    "keys",
                    if file.with_keys { "sealed" } else { "left out" }.to_owned(),
                ),
                ("sha256", file.sha256),
            ])
        };
        self.print(&text)
    }

    fn write_backup(&mut self, plan: BackupPlan) -> Result<FileView, Trouble> {
        let id = plan.begun.id;
        let mut file = self.app.begin_backup(&self.config, plan)?;
        let mut watch = Stopwatch::start();
        loop {
            let (data, last) = match self.ask(Request::BackupNext { id })? {
                Reply::BackupPage { data, last } => (data, last),
                other => return Err(unexpected(&other)),
            };
            let records = file.add(&data)?;
            if last {
                return Ok(file.finish()?);
            }
            if watch.elapsed() >= PROGRESS {
                self.note(&format!("{records} records written"));
                watch = Stopwatch::start();
            }
        }
    }

    /// `sidegate restore`.
    pub(super) fn restore(&mut self, args: Restore) -> Result<(), Trouble> {
        if self.config.is_volatile() {
            let none = "there is nothing to restore to: the store is in memory".to_owned();
            return Err(Trouble::Failed(none));
        }
        if self.is_served()? {
            return Err(Trouble::Failed(
                "a server runs on this store: stop it first; nothing was changed".to_owned(),
            ));
        }
        let passphrase = args.passphrase_file.as_deref().map(read_passphrase);
        let (keep_sessions, config) = (args.keep_sessions, self.config.clone());
        let socket = self.config.server.control.clone();
        let surroundings = &mut *self.surroundings;
        let (password, err) = (&mut *surroundings.password, &mut *surroundings.err);
        let mut ask = || {
            password("passphrase of the keys")
                .map_err(|e| Failure(format!("{e}; or use --passphrase-file")))
        };
        let mut watch = Stopwatch::start();
        let mut progress = |text: &str| {
            if watch.elapsed() >= PROGRESS {
                tell(err, text);
                watch = Stopwatch::start();
            }
        };
        let plan = RestorePlan {
            file: args.file,
            keep_sessions,
            replace: args.replace,
            reset_factors: args.reset_factors,
            passphrase: passphrase.transpose()?,
            ask: &mut ask,
            progress: &mut progress,
        };
        let restored = self
            .app
            .restore(config, plan)
            .map_err(|error| match error {
                OfflineError::Failed(message) => Trouble::Failed(message),
                OfflineError::StoreLocked => Trouble::Failed(format!(
                    "another process holds the store, yet no server answers on {}: stop it first; \
                 nothing was changed",
                    super::execute::shown(socket.as_ref())
                )),
            })?;
        let text = if args.json.json {
            show::json(&restored)?
        } else {
            let sessions = match (restored.sessions, keep_sessions) {
                (count, true) => format!("{count} go on"),
                (count, false) => format!("{count} ended"),
            };
            let mut pairs = vec![
                ("store", restored.store.display().to_string()),
                ("made", restored.made_at),
                ("records", restored.records.to_string()),
                ("sessions", sessions),
                ("keys", restored.keys),
            ];
            if let Some(replaced) = restored.replaced {
                pairs.push(("before", replaced.display().to_string()));
            }
            pairs.push(("sha256", restored.sha256));
            facts(&pairs)
        };
        self.print(&text)
    }

    /// Writes a result that must not be lost.
    fn print(&mut self, text: &str) -> Result<(), Trouble> {
        let out = &mut self.surroundings.out;
        writeln!(out, "{text}")
            .and_then(|()| out.flush())
            .map_err(|e| Trouble::Failed(format!("cannot write the result: {e}")))
    }
}

/// The passphrase in a file, without the end of its line.
fn read_passphrase(file: &Path) -> Result<SecretText, Trouble> {
    let failed = |why: String| Trouble::Failed(format!("{}: {why}", file.display()));
    let bytes = load::read_small(file).map_err(|e| failed(format!("cannot be read: {e}")))?;
    let text = String::from_utf8(bytes).map_err(|_| failed("is not UTF-8".to_owned()))?;
    Ok(SecretText::new(
        text.trim_end_matches(['\r', '\n']).to_owned(),
    ))
}
