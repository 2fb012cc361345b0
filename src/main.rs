//! The `sidegate` binary: hands the command line to `cli`, and what it starts to `app`.

use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use sidegate::app::restore::{self, KeysFrom, RestoreError};
use sidegate::app::{self, Beginning, StartError};
use sidegate::cli::load::Loader;
use sidegate::cli::store::{SalvageReport, VerifyReport};
use sidegate::cli::{
    App, BackupFile, BackupPlan, Failure, FileView, Offline, OfflineError, RestorePlan,
    RestoreView, Start,
};
use sidegate::config::{self, Config, Sources};
use sidegate::control::{Reply, Request};
use sidegate::store::StoreError;
use sidegate::store::backup::Sessions;
use sidegate::store::identity::Founding;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sidegate::cli::main(&Parts)
}

/// The parts that the command line starts.
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
        app::serve(config, beginning, Arc::new(reread)).map_err(|error| match error {
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
        app::demo::run(std::io::stdout(), &configure).map_err(Failure)
    }

    fn begin_backup<'a>(
        &'a self,
        config: &Config,
        plan: BackupPlan,
    ) -> Result<Box<dyn BackupFile + 'a>, Failure> {
        let passphrase = plan.passphrase.as_ref();
        let file = app::backup::BackupFile::begin(config, &plan.to, passphrase, &plan.begun);
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
        app::verify_store(config, progress).map_err(told)
    }

    fn salvage_store(
        &self,
        config: &Config,
        to: &Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<SalvageReport, OfflineError> {
        app::salvage_store(config, to, progress).map_err(told)
    }

    fn open_offline<'a>(&'a self, config: Config) -> Result<Box<dyn Offline + 'a>, OfflineError> {
        let open = app::Offline::open(config).map_err(told)?;
        Ok(Box::new(Store(open)))
    }
}

/// A backup that is being written.
struct Backup {
    file: app::backup::BackupFile,
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

/// The store, held for one command.
struct Store(app::Offline);

impl Offline for Store {
    fn execute(&mut self, request: Request) -> Result<Reply, OfflineError> {
        Ok(self.0.execute(request))
    }

    fn close(self: Box<Self>) -> Result<(), OfflineError> {
        self.0.close().map_err(told)
    }
}

fn told(error: StartError) -> OfflineError {
    match error {
        StartError::Store(StoreError::Locked(_)) => OfflineError::StoreLocked,
        other => OfflineError::Failed(other.to_string()),
    }
}
