//! What does a command print, with which exit code does it end, and where is it executed?

mod help;
mod imports;
mod lists;
mod offline;
mod online;

use std::cell::RefCell;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

use clap::CommandFactory;

use crate::cli::args::Args;
use crate::cli::load::Loader;
use crate::cli::{
    App, BackupFile, BackupPlan, Console, Failure, Offline, OfflineError, RestorePlan, RestoreView,
    SalvageReport, Start, VerifyReport, run,
};
use crate::config::Config;
use crate::control::reply::{AuditView, EndingView, KeyView, SessionView, UserView};
use crate::control::{Reply, Request, listener, wire};
use crate::types::random::SeededRandom;
use crate::types::secret::SecretText;

/// Records the requests and returns prepared replies.
#[derive(Default)]
struct FakeApp {
    asked: RefCell<Vec<Request>>,
    answers: RefCell<Vec<Result<Reply, OfflineError>>>,
    served: RefCell<u32>,
    opened: RefCell<u32>,
    closed: RefCell<u32>,
    start: RefCell<Start>,
    verified: RefCell<Option<VerifyReport>>,
}

impl FakeApp {
    fn answering(answers: impl IntoIterator<Item = Result<Reply, OfflineError>>) -> Self {
        let mut answers: Vec<_> = answers.into_iter().collect();
        answers.reverse();
        Self {
            answers: RefCell::new(answers),
            ..Self::default()
        }
    }
}

impl App for FakeApp {
    fn serve(&self, _: Config, loader: Loader, start: Start) -> Result<(), Failure> {
        *self.start.borrow_mut() = start;
        *self.served.borrow_mut() += 1;
        loader.load().map(drop).map_err(|e| Failure(e.to_string()))
    }

    fn demo(&self) -> Result<(), Failure> {
        Err(Failure("the port is taken".to_owned()))
    }

    fn begin_backup<'a>(
        &'a self,
        _: &Config,
        _: BackupPlan,
    ) -> Result<Box<dyn BackupFile + 'a>, Failure> {
        Err(Failure("the disk is full".to_owned()))
    }

    fn restore(&self, _: Config, _: RestorePlan<'_>) -> Result<RestoreView, OfflineError> {
        Err(OfflineError::StoreLocked)
    }

    fn verify_store(
        &self,
        _: &Config,
        progress: &mut dyn FnMut(u64),
    ) -> Result<VerifyReport, OfflineError> {
        progress(10_000);
        self.verified
            .borrow()
            .clone()
            .ok_or(OfflineError::StoreLocked)
    }

    fn salvage_store(
        &self,
        _: &Config,
        to: &Path,
        _: &mut dyn FnMut(u64),
    ) -> Result<SalvageReport, OfflineError> {
        Ok(SalvageReport {
            directory: to.display().to_string(),
            users: 7,
            ..SalvageReport::default()
        })
    }

    fn open_offline<'a>(&'a self, _: Config) -> Result<Box<dyn Offline + 'a>, OfflineError> {
        *self.opened.borrow_mut() += 1;
        Ok(Box::new(FakeStore(self)))
    }
}

struct FakeStore<'a>(&'a FakeApp);

impl Offline for FakeStore<'_> {
    fn execute(&mut self, request: Request) -> Result<Reply, OfflineError> {
        self.0.asked.borrow_mut().push(request);
        self.0.answers.borrow_mut().pop().expect("one more answer")
    }

    fn close(self: Box<Self>) -> Result<(), OfflineError> {
        *self.0.closed.borrow_mut() += 1;
        Ok(())
    }
}

/// The output and the exit code of a command.
struct Ran {
    code: u8,
    out: String,
    err: String,
}

/// Runs a command on a sled store below `dir`, where no server runs unless the test starts one.
fn ran_in(dir: &Path, app: &FakeApp, args: &[&str]) -> Ran {
    let store = format!("sled:{}", dir.display());
    let env = [
        ("SIDEGATE__UPSTREAM__URL", "http://127.0.0.1:3000"),
        ("SIDEGATE__STORE__URL", &store),
    ];
    ran_with(&env, app, args)
}

fn ran_with(env: &[(&str, &str)], app: &FakeApp, args: &[&str]) -> Ran {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console = Console {
        out: &mut out,
        err: &mut err,
        password: &mut |_: &str| Ok(SecretText::new("blue kettle on fire")),
        env: env
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        random: &SeededRandom::new(7),
    };
    let empty = tempfile::NamedTempFile::new().unwrap();
    let mut line: Vec<OsString> = vec!["sidegate".into()];
    line.extend(args.iter().map(OsString::from));
    if !args.contains(&"--config") && !args.is_empty() {
        // Never the file in the directory of the test run.
        line.extend(["--config".into(), empty.path().into()]);
    }
    let code = run(line, app, &mut console);
    Ran {
        code,
        out: String::from_utf8(out).unwrap(),
        err: String::from_utf8(err).unwrap(),
    }
}

/// Runs a command without a server, in a temporary directory.
fn ran(app: &FakeApp, args: &[&str]) -> Ran {
    ran_in(tempfile::tempdir().unwrap().path(), app, args)
}

fn ann() -> UserView {
    UserView {
        id: "0193b0a0-0000-7000-8000-000000000001".to_owned(),
        tenant: "default".to_owned(),
        username: Some("ann".to_owned()),
        roles: vec!["admin".to_owned(), "user".to_owned()],
        status: "enabled".to_owned(),
        locked_until: Some("2026-01-01T00:00:00.000Z".to_owned()),
        created_at: "2025-01-01T00:00:00.000Z".to_owned(),
        updated_at: "2025-01-01T00:00:00.000Z".to_owned(),
        ..UserView::default()
    }
}
