//! The programs around Sidegate in a measurement: an upstream, a load generator, and a minimal forwarder
//! built from its parts. Each is a separate process, so that only the measured one is counted.
//! `scripts/bench-instructions`, `bench-load` and `bench-logins` start them.
//!
//! ```text
//! guard upstream                     answers every request with 1 KiB of JSON
//! guard bare --upstream ADDRESS      hyper's server and the proxy layer, nothing else
//! guard load --to ADDRESS --path PATH [--token TOKEN] [--connections N]
//!            (--requests N | --seconds N)
//! guard hash --threads N --seconds N              plain password hashes
//! guard fill --store FOLDER --sessions N --ended N  a store for a measured Sidegate
//! ```
//!
//! The first two print their address and serve until standard input ends; the others print one line
//! of JSON.

mod bare;
mod fill;
mod hash;
mod load;
#[path = "../../tests/torture/session.rs"]
mod session;
mod upstream;

use std::error::Error;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::task::{LocalSet, spawn_blocking};

use crate::load::{Budget, Load};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A failure here cannot be reported.
            drop(writeln!(io::stderr(), "{error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Outcome<()> {
    let role = words.first().map_or("", String::as_str);
    match role {
        "upstream" => on_one_thread(serve(upstream::start())),
        "bare" => on_one_thread(serve(bare::start(address(words, "--upstream")?))),
        "load" => on_one_thread(async {
            let report = asked(words)?.run().await?;
            say(&report)
        }),
        "hash" => {
            let seconds = Duration::from_secs(needed(words, "--seconds")?);
            say(&hash::run(needed(words, "--threads")?, seconds)?)
        }
        "fill" => on_one_thread(async {
            let folder = option(words, "--store").ok_or("--store is missing")?;
            let (sessions, ended) = (needed(words, "--sessions")?, needed(words, "--ended")?);
            say(&fill::run(Path::new(folder), sessions, ended).await?)
        }),
        // `cargo bench` and `cargo test --benches` start it like this.
        _ => say(
            "nothing is measured without scripts/bench-instructions, bench-load or bench-logins",
        ),
    }
}

fn on_one_thread(work: impl Future<Output = Outcome<()>>) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, work)
}

/// Prints the address of a server and serves until standard input ends.
async fn serve(starting: impl Future<Output = Outcome<SocketAddr>>) -> Outcome<()> {
    say(&starting.await?.to_string())?;
    spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}

fn asked(words: &[String]) -> Outcome<Load> {
    let budget = match (number(words, "--requests")?, number(words, "--seconds")?) {
        (Some(requests), None) => Budget::Requests(requests),
        (None, Some(seconds)) => Budget::Time(Duration::from_secs(seconds)),
        _ => return Err("one of --requests and --seconds".into()),
    };
    Ok(Load {
        to: address(words, "--to")?,
        path: option(words, "--path")
            .ok_or("--path is missing")?
            .to_owned(),
        token: option(words, "--token").map(str::to_owned),
        connections: number(words, "--connections")?.unwrap_or(1),
        budget,
    })
}

fn address(words: &[String], name: &str) -> Outcome<SocketAddr> {
    let text = option(words, name).ok_or_else(|| format!("{name} is missing"))?;
    Ok(text.parse()?)
}

fn number(words: &[String], name: &str) -> Outcome<Option<u64>> {
    Ok(option(words, name).map(str::parse).transpose()?)
}

fn needed(words: &[String], name: &str) -> Outcome<u64> {
    Ok(number(words, name)?.ok_or_else(|| format!("{name} is missing"))?)
}

fn option<'a>(words: &'a [String], name: &str) -> Option<&'a str> {
    let at = words.iter().position(|word| word == name)?;
    words.get(at + 1).map(String::as_str)
}

fn say(line: &str) -> Outcome<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
