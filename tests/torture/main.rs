//! Is acknowledged data still in the store after the process is killed, or the power fails?
//!
//! The program starts itself as a child that writes to a store and acknowledges each write over a
//! pipe, kills it at a random moment, starts again and checks everything that was acknowledged.
//! `cargo test` runs a few rounds. For more:
//!
//! ```text
//! cargo test --test torture -- --rounds 50 --seed 1
//! cargo test --test torture -- --rounds 30 --power-cut
//! cargo test --test torture -- --rounds 30 --power-cut --torn
//! cargo test --test torture -- --rounds 10 --power-cut --no-fsync    must lose data
//! cargo test --test torture -- --disk-full
//! cargo test --test torture -- --damage --rounds 1000
//! cargo test --test torture -- --damage --blind      must find a silent loss
//! cargo test --release --test torture -- --measure
//! ```
#![expect(
    clippy::print_stdout,
    reason = "a program of its own, run from a terminal"
)]

mod child;
mod damage;
mod expected;
mod measure;
mod parent;
mod session;
mod shadow;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use sidegate::store::settings::{Engine, Settings};
use sidegate::store::testing;
use sidegate::store::{AnyStore, StoreError};
use sidegate::types::time::SystemClock;

/// The options of the command line.
#[derive(Debug, Clone)]
struct Options {
    rounds: u32,
    seed: u64,
    writers: u32,
    power: Power,
    torn: bool,
    fsync: bool,
    watch: Watch,
    act: Act,
}

/// How damage is detected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watch {
    /// With the detector; only failures are printed.
    Quiet,
    /// With the detector; everything is printed.
    Aloud,
    /// Without the detector.
    Blind,
}

/// The failure that is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Power {
    /// The process: data given to the operating system stays.
    Kept,
    /// The machine: only synced data stays.
    Cut,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Act {
    Torture,
    DiskFull,
    Damage,
    Measure,
    Child(PathBuf),
    /// The options of the test runner.
    Nothing,
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            println!("{error}");
            return ExitCode::from(2);
        }
    };
    let outcome = match &options.act {
        Act::Torture => parent::torture(&options).and_then(|kept| {
            // A short part of it in every run of the tests.
            let few = Options {
                rounds: 40,
                ..options.clone()
            };
            Ok(kept && (options.power == Power::Cut || !options.fsync || damage::damage(&few)?))
        }),
        Act::Damage => damage::damage(&options),
        Act::DiskFull => parent::fill_the_disk(&options),
        Act::Measure => measure::measure(&options),
        Act::Child(directory) => child::write(&options, directory).map(|()| true),
        Act::Nothing => Ok(true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("torture: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options(arguments: impl Iterator<Item = String>) -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        rounds: 5,
        seed: 1,
        writers: 16,
        power: Power::Kept,
        torn: false,
        fsync: true,
        watch: Watch::Quiet,
        act: Act::Torture,
    };
    let mut rest = arguments.peekable();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--rounds" => options.rounds = value()?.parse()?,
            "--seed" => options.seed = value()?.parse()?,
            "--writers" => options.writers = value()?.parse()?,
            "--power-cut" => options.power = Power::Cut,
            "--torn" => options.torn = true,
            "--no-fsync" => options.fsync = false,
            "--damage" => options.act = Act::Damage,
            "--blind" => options.watch = Watch::Blind,
            "--verbose" => options.watch = Watch::Aloud,
            "--disk-full" => options.act = Act::DiskFull,
            "--measure" => options.act = Act::Measure,
            "--child" => options.act = Act::Child(value()?.into()),
            "--help" => {
                return Err(
                    "--rounds N --seed S --writers N [--power-cut [--torn]] [--no-fsync] \
                            | --disk-full | --damage [--blind] [--verbose] | --measure"
                        .into(),
                );
            }
            // A filter or a flag of the test runner, which does not concern this program.
            other if "torture".contains(other) => {}
            "--nocapture" | "--quiet" | "-q" | "--exact" | "--show-output" => {}
            _ => options.act = Act::Nothing,
        }
    }
    Ok(options)
}

fn open(directory: &Path, fsync: bool) -> Result<AnyStore, StoreError> {
    let settings = settings(directory);
    let clock = Arc::new(SystemClock::default());
    if fsync {
        AnyStore::open(&settings, clock)
    } else {
        testing::open_without_fsync(&settings, clock)
    }
}

/// The store is not synced, because a process that is not killed loses nothing.
fn open_for_damage(directory: &Path, blind: bool) -> Result<AnyStore, StoreError> {
    let settings = settings(directory);
    let clock = Arc::new(SystemClock::default());
    if blind {
        testing::open_unproved(&settings, clock)
    } else {
        testing::open_without_fsync(&settings, clock)
    }
}

fn settings(directory: &Path) -> Settings {
    let hour = Duration::from_secs(3_600);
    Settings {
        engine: Engine::Sled {
            path: directory.to_owned(),
            cache: 16 << 20,
        },
        deadline: Duration::from_secs(30),
        revocation_life: hour,
        audit_life: hour,
        lock_wait: Duration::ZERO,
    }
}

fn block_on<F: Future>(future: F) -> Result<F::Output, std::io::Error> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    Ok(runtime.enable_all().build()?.block_on(future))
}
