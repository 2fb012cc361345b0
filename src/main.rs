//! The `sidegate` binary: hands the command line to `cli`, and what it starts to `app`.

use std::process::ExitCode;

use sidegate::cli::load::Loader;
use sidegate::cli::{App, Failure, OfflineError};
use sidegate::config::Config;
use sidegate::control::{Reply, Request};

fn main() -> ExitCode {
    sidegate::cli::main(&Parts)
}

/// The parts that the command line starts.
//
// PLACEHOLDER for the composition root: everything but `check` answers with an error.
struct Parts;

impl App for Parts {
    fn serve(&self, _: Config, _: Loader) -> Result<(), Failure> {
        Err(Failure("this build has no server".to_owned()))
    }

    fn demo(&self) -> Result<(), Failure> {
        Err(Failure("this build has no demonstration".to_owned()))
    }

    fn execute_offline(&self, _: Config, _: Request) -> Result<Reply, OfflineError> {
        Err(OfflineError::Failed("this build has no store".to_owned()))
    }
}
