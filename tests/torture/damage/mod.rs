//! Random damage to stores of several ages: a start is refused with a reason, or the store has exactly
//! the acknowledged data. `--blind` turns the detector off and must find a silent loss.

mod harm;
mod subjects;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sidegate::store::{Lifecycle, StoreError};
use sidegate::types::random::SeededRandom;

use self::harm::{KINDS, Kind, any, files, harm};
use self::subjects::{Subject, state, subjects};
use crate::shadow::copy_tree;
use crate::{Options, Watch, block_on, open_for_damage};

/// A start that takes longer is counted as hung.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Refused,
    Exact,
    Silent,
    Hung,
    Wordless,
    Altered,
}

/// Damages copies and opens them. `true` when no damage was silent, or, with `--blind`, when some was.
pub(crate) fn damage(options: &Options) -> Result<bool, Box<dyn Error>> {
    let work = tempfile::tempdir()?;
    let subjects = subjects(options, &work.path().canonicalize()?)?;
    let next = AtomicU32::new(0);
    let tally: Mutex<BTreeMap<(&str, Kind, Outcome), u32>> = Mutex::default();
    let shown = AtomicU32::new(0);
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(4);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let round = next.fetch_add(1, Ordering::Relaxed);
                    if round >= options.rounds {
                        return;
                    }
                    let random = SeededRandom::new(options.seed << 32 | u64::from(round));
                    let Some(subject) = any(&subjects, &random) else {
                        return;
                    };
                    let copy = work.path().join(format!("round-{round}"));
                    let (kind, what, outcome, words) = one_round(options, subject, &copy, &random)
                        .unwrap_or_else(|error| {
                            (Kind::Bit, String::new(), Outcome::Hung, error.to_string())
                        });
                    let bad = !matches!(outcome, Outcome::Refused | Outcome::Exact);
                    if (bad || matches!(options.watch, Watch::Aloud))
                        && shown.fetch_add(1, Ordering::Relaxed) < 40
                    {
                        println!(
                            "round {round}, {}, {kind} in {what}: {outcome:?}: {words}",
                            subject.age
                        );
                    }
                    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                    *tally.entry((subject.age, kind, outcome)).or_default() += 1;
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(report(options, &subjects, &tally))
}

fn report(
    options: &Options,
    subjects: &[Subject],
    tally: &BTreeMap<(&str, Kind, Outcome), u32>,
) -> bool {
    let sum = |chosen: &dyn Fn(&str, Kind) -> bool, outcome: Outcome| -> u32 {
        let matching = tally
            .iter()
            .filter(|((age, kind, found), _)| chosen(age, *kind) && *found == outcome);
        matching.map(|(_, count)| count).sum()
    };
    let line = |name: &str, chosen: &dyn Fn(&str, Kind) -> bool| {
        println!(
            "| {name:<15} | {:>7} | {:>5} | {:>6} |",
            sum(chosen, Outcome::Refused),
            sum(chosen, Outcome::Exact),
            sum(chosen, Outcome::Silent),
        );
    };
    println!("| damage          | refused | exact | silent |\n|---|---|---|---|");
    for kind in KINDS {
        line(&kind.to_string(), &|_, found| found == kind);
    }
    for subject in subjects {
        line(subject.age, &|age, _| age == subject.age);
    }
    let all = |_: &str, _: Kind| true;
    line("all", &all);
    let silent = sum(&all, Outcome::Silent);
    let other = [Outcome::Hung, Outcome::Wordless, Outcome::Altered];
    let [hung, wordless, altered] = other.map(|outcome| sum(&all, outcome));
    println!(
        "damage: seed {}, {} rounds, detector {}: {silent} silent, {} hung, {} refused without words, \
         {} altered by a refusal",
        options.seed,
        options.rounds,
        if matches!(options.watch, Watch::Blind) {
            "off"
        } else {
            "on"
        },
        hung,
        wordless,
        altered,
    );
    if matches!(options.watch, Watch::Blind) {
        silent > 0
    } else {
        silent + hung + wordless + altered == 0
    }
}

fn one_round(
    options: &Options,
    subject: &Subject,
    copy: &Path,
    random: &SeededRandom,
) -> Result<(Kind, String, Outcome, String), Box<dyn Error>> {
    copy_tree(&subject.directory, copy)?;
    let (kind, what) = harm(copy, subject, random)?;
    let before = files(copy)?;
    let (sender, outcome) = channel();
    let (directory, blind) = (copy.to_owned(), matches!(options.watch, Watch::Blind));
    std::thread::spawn(move || {
        let opened = open_for_damage(&directory, blind).and_then(|store| {
            let read = block_on(async {
                let state = state(&store).await;
                store.close().await?;
                state
            });
            read.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())))
        });
        drop(sender.send(opened));
    });
    let Ok(opened) = outcome.recv_timeout(PATIENCE) else {
        return Ok((kind, what, Outcome::Hung, String::new()));
    };
    let (found, words) = match opened {
        Err(error) => {
            let words = error.to_string();
            let altered = files(copy)?.iter().any(|(name, bytes)| {
                is_evidence(name) && before.get(name).is_some_and(|old| old != bytes)
            }) || before.keys().any(|name| {
                is_evidence(name) && !name.starts_with("snap.") && !copy.join(name).exists()
            });
            let outcome = if !words.contains("sidegate store verify") {
                Outcome::Wordless
            } else if altered && !matches!(options.watch, Watch::Blind) {
                Outcome::Altered
            } else {
                Outcome::Refused
            };
            (outcome, words)
        }
        Ok(state) if state == subject.whole => (Outcome::Exact, String::new()),
        // Writes that were not acknowledged before the kill may be missing.
        Ok(state)
            if state.commit >= subject.acknowledged && state.commit < subject.whole.commit =>
        {
            (Outcome::Exact, String::new())
        }
        Ok(state) => (
            Outcome::Silent,
            format!(
                "commit {} in place of {}",
                state.commit, subject.whole.commit
            ),
        ),
    };
    fs::remove_dir_all(copy)?;
    Ok((kind, what, found, words))
}

/// The files that a later salvage needs: a refusal must not change them.
fn is_evidence(name: &str) -> bool {
    name == "db" || name.starts_with("snap.") || name.starts_with("commit-") || name == "conf"
}
