//! The parent process: starts the child, kills it, and checks everything that was acknowledged.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use sidegate::store::Lifecycle;
use sidegate::types::random::SeededRandom;

use crate::expected::Expected;
use crate::shadow::Shadow;
use crate::{Options, Power, block_on, open};

/// Runs the rounds. `true` when nothing was lost.
pub(crate) fn torture(options: &Options) -> Result<bool, Box<dyn Error>> {
    let work = tempfile::tempdir()?;
    let directory = work.path().canonicalize()?.join("store");
    fs::create_dir(&directory)?;
    let shadow = match options.power {
        Power::Kept => None,
        Power::Cut => Some(Shadow::new(work.path(), &directory)?),
    };
    let random = SeededRandom::new(options.seed);
    let mut expected = Expected::default();
    let mut tally = Tally::default();
    for round in 1..=options.rounds {
        let mut command = child_command(options, &directory, random.next())?;
        if let Some(shadow) = &shadow {
            shadow.watch(&mut command)?;
        }
        let mut child = Running::start(&mut command)?;
        child.wait(moment(&random), |_| false)?;
        child.kill(&mut expected, &mut tally)?;
        if let Some(shadow) = &shadow {
            let torn = options.torn && random.next().is_multiple_of(2);
            shadow.restore(torn.then_some(&random))?;
        }
        // Every third kill is followed by another one at once, during recovery.
        if round == options.rounds || !random.next().is_multiple_of(3) {
            verify(&directory, &mut expected, &mut tally, round)?;
        }
    }
    tally.report(options, &expected);
    Ok(tally.lost == 0 && tally.unopenable == 0)
}

/// Fills the disk under the child and then frees space again.
pub(crate) fn fill_the_disk(options: &Options) -> Result<bool, Box<dyn Error>> {
    let work = tempfile::tempdir()?;
    let directory = work.path().canonicalize()?.join("store");
    fs::create_dir(&directory)?;
    let shadow = Shadow::new(work.path(), &directory)?;
    let mut expected = Expected::default();
    let mut tally = Tally::default();
    let mut command = child_command(options, &directory, options.seed)?;
    shadow.watch(&mut command)?;
    let flag = shadow.disk_full_flag(&mut command);
    let mut child = Running::start(&mut command)?;
    let patience = Duration::from_secs(30);
    let acknowledged = |line: &str| line.starts_with(['c', 'r', 'e', 'u']);
    let began = child.wait(patience, acknowledged)?;
    fs::write(&flag, b"")?;
    let refused = child.wait(patience, |line| line == "x")?;
    fs::remove_file(&flag)?;
    let again = child.wait(patience, acknowledged)?;
    child.wait(Duration::from_millis(300), |_| false)?;
    child.kill(&mut expected, &mut tally)?;
    println!("wrote: {began}, refused on a full disk: {refused}, wrote again: {again}");
    shadow.restore(None)?;
    verify(&directory, &mut expected, &mut tally, 1)?;
    tally.report(options, &expected);
    println!("refused writes: {}", expected.refused);
    Ok(began && refused && again && tally.lost == 0 && tally.unopenable == 0)
}

/// Lets a child write to the directory for a moment and kills it.
pub(crate) fn write_and_kill(
    options: &Options,
    directory: &Path,
    seed: u64,
    expected: &mut Expected,
) -> Result<(), Box<dyn Error>> {
    let mut child = Running::start(&mut child_command(options, directory, seed << 20)?)?;
    let acknowledged = |line: &str| line.starts_with("e ");
    if !child.wait(Duration::from_secs(60), acknowledged)? {
        return Err("the child ends no session".into());
    }
    child.wait(Duration::from_millis(200), |_| false)?;
    child.kill(expected, &mut Tally::default())
}

#[derive(Debug, Default)]
struct Tally {
    rounds: u32,
    killed_before_open: u32,
    verified: u32,
    lost: usize,
    unopenable: u32,
}

impl Tally {
    fn report(&self, options: &Options, expected: &Expected) {
        println!(
            "torture: seed {}, {:?}, torn {}, fsync {}: {} rounds ({} killed before the store was \
             open), {} verified restarts, {} acknowledged writes, {} lost, {} unopenable",
            options.seed,
            options.power,
            options.torn,
            options.fsync,
            self.rounds,
            self.killed_before_open,
            self.verified,
            expected.writes,
            self.lost,
            self.unopenable,
        );
    }
}

fn child_command(options: &Options, directory: &Path, seed: u64) -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("--child")
        .arg(directory)
        .args(["--seed", &(seed >> 20).to_string()])
        .args(["--writers", &options.writers.to_string()])
        .stdout(Stdio::piped());
    if !options.fsync {
        command.arg("--no-fsync");
    }
    Ok(command)
}

/// The time of the kill: three of ten while the store opens.
fn moment(random: &SeededRandom) -> Duration {
    let early = random.next() % 10 < 3;
    let span = if early { 60 } else { 500 };
    Duration::from_millis(random.next() % span)
}

fn verify(
    directory: &Path,
    expected: &mut Expected,
    tally: &mut Tally,
    round: u32,
) -> Result<(), Box<dyn Error>> {
    let store = match open(directory, true) {
        Ok(store) => store,
        Err(error) => {
            println!("round {round}: does not open: {error}");
            tally.unopenable += 1;
            return Ok(());
        }
    };
    let missing = block_on(async {
        let missing = expected.missing(&store).await?;
        store.close().await?;
        Ok::<_, Box<dyn Error>>(missing)
    })??;
    for line in missing.iter().take(3) {
        println!("round {round}: {line}");
    }
    tally.verified += 1;
    tally.lost += missing.len();
    if !missing.is_empty() {
        // Counted once: lost data stays lost.
        let (writes, refused) = (expected.writes, expected.refused);
        *expected = Expected::default();
        expected.writes = writes;
        expected.refused = refused;
    }
    expected.trim();
    Ok(())
}

/// A child and its output.
struct Running {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Running {
    fn start(command: &mut Command) -> Result<Self, Box<dyn Error>> {
        let mut child = command.spawn()?;
        let output = child.stdout.take().ok_or("the child has no output")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = String::new();
            // An incomplete line was cut by the kill.
            while output.read_line(&mut line).is_ok_and(|n| n > 0) && line.ends_with('\n') {
                line.truncate(line.len() - 1);
                if sender.send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            child,
            lines,
            said: Vec::new(),
        })
    }

    /// Reads until a line is the expected one (`true`), or until the time is over (`false`).
    fn wait(
        &mut self,
        patience: Duration,
        enough: impl Fn(&str) -> bool,
    ) -> Result<bool, Box<dyn Error>> {
        block_on(async {
            let timer = tokio::time::sleep(patience);
            tokio::pin!(timer);
            loop {
                tokio::select! {
                    () = &mut timer => return false,
                    () = tokio::time::sleep(Duration::from_millis(1)) => {}
                }
                while let Ok(line) = self.lines.try_recv() {
                    let found = enough(&line);
                    self.said.push(line);
                    if found {
                        return true;
                    }
                }
            }
        })
        .map_err(Into::into)
    }

    /// Kills the child and reads the rest of its output.
    fn kill(mut self, expected: &mut Expected, tally: &mut Tally) -> Result<(), Box<dyn Error>> {
        if let Some(status) = self.child.try_wait()? {
            return Err(format!("the child ended by itself: {status}").into());
        }
        self.child.kill()?;
        self.child.wait()?;
        loop {
            match self.lines.recv_timeout(Duration::from_secs(10)) {
                Ok(line) => self.said.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return Err("the pipe stays open".into()),
            }
        }
        tally.rounds += 1;
        tally.killed_before_open += u32::from(self.said.is_empty());
        for line in &self.said {
            expected.note(line)?;
        }
        Ok(())
    }
}
