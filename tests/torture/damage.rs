//! Random damage to stores of several ages: a start either refuses and says why, or has exactly what
//! was acknowledged. Nothing in between is allowed, and `--blind` shows that it would be found.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sidegate::model::session::{EndReason, Generation};
use sidegate::store::{
    AccountStore, AuditStore, BulkStore, Cap, Created, Embedded, Lifecycle, RevocationLog,
    RotatePolicy, Scope, Seen, SessionStore, StoreError, WhenFull,
};
use sidegate::types::ids::{TenantId, UserId};
use sidegate::types::random::SeededRandom;
use sidegate::types::time::{Clock, SystemClock};

use crate::expected::{Expected, owner};
use crate::parent::write_and_kill;
use crate::session::session;
use crate::shadow::copy_tree;
use crate::{Options, Watch, block_on, open_for_damage};

/// A start that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is damaged at a time.
const SECTOR: u64 = SECTOR_BYTES as u64;
const PAGE: u64 = PAGE_BYTES as u64;
const SECTOR_BYTES: usize = 512;
const PAGE_BYTES: usize = 4_096;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Bit,
    ZeroedSector,
    ZeroedPage,
    NoisePage,
    StalePage,
    SwappedPages,
    Cut,
    Removed,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bit => "flipped bit",
            Self::ZeroedSector => "zeroed sector",
            Self::ZeroedPage => "zeroed page",
            Self::NoisePage => "page of noise",
            Self::StalePage => "stale page",
            Self::SwappedPages => "swapped pages",
            Self::Cut => "cut file",
            Self::Removed => "removed file",
        })
    }
}

const KINDS: [Kind; 8] = [
    Kind::Bit,
    Kind::ZeroedSector,
    Kind::ZeroedPage,
    Kind::NoisePage,
    Kind::StalePage,
    Kind::SwappedPages,
    Kind::Cut,
    Kind::Removed,
];

/// A store before it is damaged.
struct Subject {
    age: &'static str,
    directory: PathBuf,
    /// Its database some time earlier, for writes that never reached the disk.
    earlier: Vec<u8>,
    /// What it holds.
    whole: State,
    /// The number that was acknowledged.
    acknowledged: u64,
}

/// What a store holds, as text, and its last commit.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    commit: u64,
    content: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Refused,
    Exact,
    Silent,
    Hung,
    Wordless,
    Altered,
}

/// Damages and opens. `true` when nothing was silent, or, with `--blind`, when something was.
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
        // What was written and not acknowledged before the kill may be gone.
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

/// What a later salvage needs: a refusal must leave it alone.
fn is_evidence(name: &str) -> bool {
    name == "db" || name.starts_with("snap.") || name.starts_with("commit-") || name == "conf"
}

fn files(directory: &Path) -> Result<BTreeMap<String, Vec<u8>>, Box<dyn Error>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.metadata()?.is_file() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let mut bytes = fs::read(entry.path())?;
            // Zeros at the end mean nothing, and the engine adds some.
            let end = bytes
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |at| at + 1);
            bytes.truncate(end);
            all.insert(name, bytes);
        }
    }
    Ok(all)
}

/// Does one damage. Most of it hits the database, and there what has been written.
fn harm(
    directory: &Path,
    subject: &Subject,
    random: &SeededRandom,
) -> Result<(Kind, String), Box<dyn Error>> {
    let names: Vec<String> = files(directory)?
        .into_iter()
        .filter(|(name, bytes)| name != "lock" && !bytes.is_empty())
        .map(|(name, _)| name)
        .collect();
    let name = if below(random, 10) < 7 {
        "db".to_owned()
    } else {
        any(&names, random).ok_or("no file")?.clone()
    };
    let path = directory.join(&name);
    let bytes = fs::read(&path)?;
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) as u64 + 1;
    let file = fs::OpenOptions::new().read(true).write(true).open(&path)?;
    let mut kind = *any(&KINDS, random).ok_or("no kind")?;
    if (kind == Kind::StalePage && name != "db") || (kind == Kind::SwappedPages && end <= PAGE) {
        kind = Kind::Bit;
    }
    let at = below(random, end);
    match kind {
        Kind::Bit => {
            let byte = bytes.get(usize::try_from(at)?).copied().unwrap_or_default();
            file.write_all_at(&[byte ^ (1 << below(random, 8))], at)?;
        }
        Kind::ZeroedSector => put(&file, &bytes, at / SECTOR * SECTOR, &[0; SECTOR_BYTES])?,
        Kind::ZeroedPage => put(&file, &bytes, at / PAGE * PAGE, &[0; PAGE_BYTES])?,
        Kind::NoisePage => {
            let mut noise = [0; PAGE_BYTES];
            for byte in &mut noise {
                *byte = u8::try_from(random.next() & 0xFF)?;
            }
            put(&file, &bytes, at / PAGE * PAGE, &noise)?;
        }
        Kind::StalePage => {
            let from = at / PAGE * PAGE;
            let old = subject
                .earlier
                .get(usize::try_from(from)?..)
                .unwrap_or_default();
            let mut page = [0; PAGE_BYTES];
            for (to, byte) in page.iter_mut().zip(old) {
                *to = *byte;
            }
            put(&file, &bytes, from, &page)?;
        }
        Kind::SwappedPages => {
            let (one, two) = (at / PAGE * PAGE, below(random, end) / PAGE * PAGE);
            let page = |from: u64| -> Result<Vec<u8>, Box<dyn Error>> {
                let rest = bytes.get(usize::try_from(from)?..).unwrap_or_default();
                Ok(rest.iter().copied().take(PAGE_BYTES).collect())
            };
            put(&file, &bytes, one, &page(two)?)?;
            put(&file, &bytes, two, &page(one)?)?;
        }
        Kind::Cut => file.set_len(at)?,
        Kind::Removed => fs::remove_file(&path)?,
    }
    Ok((kind, format!("{name} at {at} of {end}")))
}

/// Overwrites without making the file longer.
fn put(file: &fs::File, bytes: &[u8], at: u64, new: &[u8]) -> Result<(), Box<dyn Error>> {
    let room = bytes.len().saturating_sub(usize::try_from(at)?);
    file.write_all_at(new.get(..room.min(new.len())).unwrap_or_default(), at)?;
    Ok(())
}

fn any<'a, T>(of: &'a [T], random: &SeededRandom) -> Option<&'a T> {
    of.get(usize::try_from(below(random, of.len() as u64)).ok()?)
}

fn below(random: &SeededRandom, limit: u64) -> u64 {
    random.next() % limit.max(1)
}

fn subjects(options: &Options, work: &Path) -> Result<Vec<Subject>, Box<dyn Error>> {
    let mut all = Vec::new();
    for (age, steps, lives) in [("fresh", 12, 1), ("reopened", 12, 3), ("churned", 900, 3)] {
        let directory = work.join(age);
        let mut earlier = Vec::new();
        for life in 0..lives {
            earlier = fs::read(directory.join("db")).unwrap_or_default();
            let random = SeededRandom::new(options.seed + life);
            use_it(&directory, &random, steps)?;
        }
        all.push(subject(age, directory, earlier, None)?);
    }
    for (age, lives) in [("killed", 1), ("killed often", 4)] {
        let directory = work.join(age.replace(' ', "-"));
        fs::create_dir(&directory)?;
        let mut expected = Expected::default();
        let mut earlier = Vec::new();
        for life in 0..lives {
            earlier = fs::read(directory.join("db")).unwrap_or_default();
            write_and_kill(options, &directory, options.seed + life, &mut expected)?;
        }
        all.push(subject(age, directory, earlier, Some(&expected))?);
    }
    Ok(all)
}

/// Looks into a copy: the subject itself stays as it was left.
fn subject(
    age: &'static str,
    directory: PathBuf,
    earlier: Vec<u8>,
    expected: Option<&Expected>,
) -> Result<Subject, Box<dyn Error>> {
    let copy = directory.with_extension("whole");
    copy_tree(&directory, &copy)?;
    let store = open_for_damage(&copy, false)?;
    let (whole, missing) = block_on(async {
        let whole = state(&store).await?;
        let missing = match expected {
            Some(expected) => expected.missing(&store).await?,
            None => Vec::new(),
        };
        store.close().await?;
        Ok::<_, Box<dyn Error>>((whole, missing))
    })??;
    if !missing.is_empty() {
        return Err(format!("{age}: not whole before it is damaged: {missing:?}").into());
    }
    let note = fs::read_to_string(directory.join("commit-a"))?;
    let number = note.split(' ').nth(3).ok_or("commit-a has another form")?;
    Ok(Subject {
        age,
        directory,
        earlier,
        whole,
        acknowledged: number.parse()?,
    })
}

/// Makes, rotates and ends sessions; the last act is always an end.
fn use_it(directory: &Path, random: &SeededRandom, steps: u32) -> Result<(), Box<dyn Error>> {
    let store = open_for_damage(directory, false)?;
    let clock = SystemClock::default();
    let cap = Cap {
        max: 1_000,
        when_full: WhenFull::EndOldest,
    };
    let policy = RotatePolicy {
        grace: Duration::from_secs(30),
        max_ahead: 0,
    };
    block_on(async {
        let user = owner(UserId::generate(clock.now(), random));
        let mut mine = Vec::new();
        for step in 0..steps {
            match step % 4 {
                0 => {
                    let session = session(&user, random, clock.now());
                    let key = session.key.clone();
                    let created = store.create(session, cap, None).await?;
                    if matches!(created, Created::Stored { .. }) {
                        mine.push((key, Generation(0)));
                    }
                }
                3 if mine.len() > 1 => {
                    let at = usize::try_from(below(random, mine.len() as u64)).unwrap_or(0);
                    let (key, _) = mine.swap_remove(at);
                    store.end(&Scope::One(key), EndReason::LoggedOut).await?;
                }
                _ => {
                    let at = usize::try_from(below(random, mine.len() as u64)).unwrap_or(0);
                    if let Some((key, generation)) = mine.get_mut(at) {
                        store
                            .rotate(key, *generation, policy, Seen::default())
                            .await?;
                        generation.0 += 1;
                    }
                }
            }
        }
        if let Some((key, _)) = mine.pop() {
            store.end(&Scope::One(key), EndReason::LoggedOut).await?;
        }
        store.close().await
    })??;
    Ok(())
}

/// Everything that the store tells.
async fn state(store: &Embedded) -> Result<State, StoreError> {
    let sessions = store.all_sessions(None, 100_000).await?;
    let mut revocations = store.revocations().await?;
    revocations.sort_by_key(|revocation| revocation.session);
    let users = store.users(&TenantId::default(), None, 100_000).await?;
    let audit = store.audit(None, 100_000).await?;
    let over = store.ended_through().await?;
    Ok(State {
        commit: store.last_commit(),
        content: format!("{sessions:?}{revocations:?}{users:?}{audit:?}{over:?}"),
    })
}
