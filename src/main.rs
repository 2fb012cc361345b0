//! Which parts of the library does each command start? The `sidegate` binary.

use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use sidegate::cli::load::Loader;
use sidegate::cli::{
    App, BackupFile, BackupPlan, Failure, FileView, Offline, OfflineError, RestorePlan,
    RestoreView, SalvageReport, Start, VerifyReport,
};
use sidegate::config::{self, Config, Sources};
use sidegate::control::{Reply, Request};
use sidegate::process::maintenance::backup;
use sidegate::process::maintenance::restore::{self, KeysFrom, RestoreError};
use sidegate::process::{self, Beginning, StartError};
use sidegate::store::StoreError;
use sidegate::store::backup::Sessions;
use sidegate::store::identity::Founding;
use sidegate::store::salvage::{Inspection, Kept, Salvaged};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sidegate::cli::main(&Parts)
}

/// Implements the commands with the parts of the library.
struct Parts;

impl App for Parts {
    fn serve(&self, config: Config, loader: Loader, start: Start) -> Result<(), Failure> {
        let reread = move || loader.load().map_err(|problems| problems.to_string());
        let beginning = Beginning {
            founding: if start.new_store {
                Founding::Again
            } else {
                Founding::First
            },
            new_keys: start.new_keys,
        };
        process::serve(config, beginning, Arc::new(reread)).map_err(|error| match error {
            Some(error) => Failure(error.to_string()),
            None => Failure::reported(),
        })
    }

    fn demo(&self) -> Result<(), Failure> {
        let configure = |text: &str| {
            let sources = Sources {
                file: Some(("demo".into(), text.to_owned())),
                env: Vec::new(),
                read: &|path| std::fs::read(path),
                cores: NonZeroUsize::MIN,
            };
            config::load(&sources).map_err(|problems| problems.to_string())
        };
        process::demo::run(std::io::stdout(), &configure).map_err(Failure)
    }

    fn begin_backup<'a>(
        &'a self,
        config: &Config,
        plan: BackupPlan,
    ) -> Result<Box<dyn BackupFile + 'a>, Failure> {
        let passphrase = plan.passphrase.as_ref();
        let file = backup::BackupFile::begin(config, &plan.to, passphrase, &plan.begun);
        Ok(Box::new(Backup {
            file: file.map_err(Failure)?,
            with_keys: passphrase.is_some(),
        }))
    }

    fn restore(&self, config: Config, plan: RestorePlan<'_>) -> Result<RestoreView, OfflineError> {
        let mut ask = || (plan.ask)().map_err(|Failure(why)| why);
        let done = restore::restore(
            &config,
            restore::Plan {
                file: &plan.file,
                sessions: if plan.keep_sessions {
                    Sessions::Keep
                } else {
                    Sessions::End
                },
                replace: plan.replace,
                reset_factors: plan.reset_factors,
                passphrase: plan.passphrase,
                ask: &mut ask,
                progress: plan.progress,
            },
        )
        .map_err(|error| match error {
            RestoreError::Locked => OfflineError::StoreLocked,
            RestoreError::Failed(why) => OfflineError::Failed(why),
        })?;
        let keys = match done.keys {
            KeysFrom::Kept => "kept",
            KeysFrom::Restored => "restored",
            KeysFrom::Other => "other",
        };
        Ok(RestoreView {
            store: done.store,
            made_at: done.header.created_at.to_string(),
            records: done.records,
            sessions: done.sessions,
            sessions_kept: plan.keep_sessions,
            keys: keys.to_owned(),
            replaced: done.replaced,
            sha256: done.content.to_string(),
        })
    }

    fn verify_store(
        &self,
        config: &Config,
        progress: &mut dyn FnMut(u64),
    ) -> Result<VerifyReport, OfflineError> {
        let found = process::verify_store(config, progress).map_err(offline_error)?;
        Ok(verify_report(config, found))
    }

    fn salvage_store(
        &self,
        config: &Config,
        to: &Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<SalvageReport, OfflineError> {
        let (salvaged, kept) =
            process::salvage_store(config, to, progress).map_err(offline_error)?;
        Ok(salvage_report(to, &salvaged, &kept))
    }

    fn open_offline<'a>(&'a self, config: Config) -> Result<Box<dyn Offline + 'a>, OfflineError> {
        let open = process::Offline::open(config).map_err(offline_error)?;
        Ok(Box::new(Store(open)))
    }
}

/// A backup that is being written.
struct Backup {
    file: backup::BackupFile,
    with_keys: bool,
}

impl BackupFile for Backup {
    fn add(&mut self, data: &str) -> Result<u64, Failure> {
        self.file.add(data).map_err(Failure)
    }

    fn finish(self: Box<Self>) -> Result<FileView, Failure> {
        let written = self.file.finish().map_err(Failure)?;
        Ok(FileView {
            file: written.file,
            records: written.trailer.records,
            bytes: written.trailer.bytes,
            with_keys: self.with_keys,
            sha256: written.trailer.content.to_string(),
        })
    }
}

/// The store, opened for one command.
struct Store(process::Offline);

impl Offline for Store {
    fn execute(&mut self, request: Request) -> Result<Reply, OfflineError> {
        Ok(self.0.execute(request))
    }

    fn close(self: Box<Self>) -> Result<(), OfflineError> {
        self.0.close().map_err(offline_error)
    }
}

fn verify_report(config: &Config, found: Inspection) -> VerifyReport {
    let directory = config.store.engine.directory();
    VerifyReport {
        sound: found.problems.is_empty(),
        directory: directory.map_or_else(String::new, |path| path.display().to_string()),
        store: found.store.map(|store| store.to_string()),
        commit: found.commit,
        acknowledged: found.acknowledged,
        records: found.records,
        problems: found.problems,
        notes: found.notes,
    }
}

fn salvage_report(to: &Path, salvaged: &Salvaged, kept: &Kept) -> SalvageReport {
    SalvageReport {
        directory: to.display().to_string(),
        users: kept.users,
        lockouts: kept.lockouts,
        audit_lines: kept.audit_lines,
        others: kept.others,
        sessions_ended: kept.sessions_ended,
        logins_claimed_twice: kept.logins_claimed_twice,
        damaged_records: kept.damaged,
        damaged_stretches: salvaged.bridged,
        unreadable_pages: salvaged.unreadable,
    }
}

fn offline_error(error: StartError) -> OfflineError {
    match error {
        StartError::Store(StoreError::Locked(_)) => OfflineError::StoreLocked,
        other => OfflineError::Failed(other.to_string()),
    }
}
