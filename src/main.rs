//! The `sidegate` binary: hands the command line to `cli`, and what it starts to `app`.

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;

use sidegate::app::{self, Beginning, StartError};
use sidegate::cli::load::Loader;
use sidegate::cli::{App, Failure, Offline, OfflineError, Start};
use sidegate::config::{self, Config, Sources};
use sidegate::control::{Reply, Request};
use sidegate::store::StoreError;
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

    fn open_offline<'a>(&'a self, config: Config) -> Result<Box<dyn Offline + 'a>, OfflineError> {
        let open = app::Offline::open(config).map_err(told)?;
        Ok(Box::new(Store(open)))
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
