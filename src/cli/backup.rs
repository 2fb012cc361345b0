//! How do `sidegate backup` and `sidegate restore` work?

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::cli::app::{BackupPlan, FileView, RestorePlan};
use crate::cli::args::{Backup, Restore};
use crate::cli::console::print_line;
use crate::cli::error::{CommandError, Failure, OfflineError};
use crate::cli::execute::{Executor, shown, unexpected};
use crate::cli::table::facts;
use crate::cli::{load, show};
use crate::control::{Reply, Request};
use crate::types::secret::SecretText;
use crate::types::time::Stopwatch;

/// The interval between two progress messages.
const PROGRESS: Duration = Duration::from_secs(1);

impl Executor<'_, '_> {
    /// `sidegate backup`.
    pub(super) fn backup(&mut self, args: Backup) -> Result<(), CommandError> {
        let passphrase = match (&args.passphrase_file, args.with_keys) {
            (Some(file), _) => Some(read_passphrase(file)?),
            (None, true) => Some(
                (self.console.password)("passphrase for the keys")
                    .map_err(|e| CommandError::Usage(format!("{e}; or use --passphrase-file")))?,
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
            // Without this, the server keeps the snapshot for a minute. The first error is reported.
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

    fn write_backup(&mut self, plan: BackupPlan) -> Result<FileView, CommandError> {
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
    pub(super) fn restore(&mut self, args: Restore) -> Result<(), CommandError> {
        if self.config.is_volatile() {
            let none = "there is nothing to restore to: the store is in memory".to_owned();
            return Err(CommandError::Failed(none));
        }
        if self.is_served()? {
            return Err(CommandError::Failed(
                "a server runs on this store: stop it first; nothing was changed".to_owned(),
            ));
        }
        let passphrase = args.passphrase_file.as_deref().map(read_passphrase);
        let (keep_sessions, config) = (args.keep_sessions, self.config.clone());
        let socket = self.config.server.control.clone();
        let console = &mut *self.console;
        let (password, err) = (&mut *console.password, &mut *console.err);
        let mut ask = || {
            password("passphrase of the keys")
                .map_err(|e| Failure(format!("{e}; or use --passphrase-file")))
        };
        let mut watch = Stopwatch::start();
        let mut progress = |text: &str| {
            if watch.elapsed() >= PROGRESS {
                print_line(err, text);
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
                OfflineError::Failed(message) => CommandError::Failed(message),
                OfflineError::StoreLocked => CommandError::Failed(format!(
                    "another process holds the store, yet no server answers on {}: stop it first; \
                 nothing was changed",
                    shown(socket.as_ref())
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
    fn print(&mut self, text: &str) -> Result<(), CommandError> {
        let out = &mut self.console.out;
        writeln!(out, "{text}")
            .and_then(|()| out.flush())
            .map_err(|e| CommandError::Failed(format!("cannot write the result: {e}")))
    }
}

/// The passphrase in a file, without the end of its line.
fn read_passphrase(file: &Path) -> Result<SecretText, CommandError> {
    let failed = |why: String| CommandError::Failed(format!("{}: {why}", file.display()));
    let bytes = load::read_small(file).map_err(|e| failed(format!("cannot be read: {e}")))?;
    let text = String::from_utf8(bytes).map_err(|_| failed("is not UTF-8".to_owned()))?;
    Ok(SecretText::new(
        text.trim_end_matches(['\r', '\n']).to_owned(),
    ))
}
