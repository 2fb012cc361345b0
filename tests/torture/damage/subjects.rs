//! Which stores are damaged, how old are they, and what do they contain before?

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sidegate::model::session::{EndReason, Generation};
use sidegate::store::testing;
use sidegate::store::{
    AccountStore, AnyStore, AuditStore, Cap, Created, Lifecycle, RevocationFeed, RotatePolicy,
    Scope, Seen, SessionStore, StoreError, WhenFull,
};
use sidegate::types::ids::{TenantId, UserId};
use sidegate::types::random::SeededRandom;
use sidegate::types::time::{Clock, SystemClock};

use super::harm::below;
use crate::expected::{Expected, owner};
use crate::parent::write_and_kill;
use crate::session::session;
use crate::shadow::copy_tree;
use crate::{Options, block_on, open_for_damage};

/// A store before it is damaged.
pub(super) struct Subject {
    pub(super) age: &'static str,
    pub(super) directory: PathBuf,
    /// An earlier copy of its database, for writes that never reached the disk.
    pub(super) earlier: Vec<u8>,
    /// Its content.
    pub(super) whole: State,
    /// The number of the last acknowledged commit.
    pub(super) acknowledged: u64,
}

/// The content of a store as text, and its last commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) commit: u64,
    pub(super) content: String,
}

pub(super) fn subjects(options: &Options, work: &Path) -> Result<Vec<Subject>, Box<dyn Error>> {
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

/// Reads a copy, so that the store itself is unchanged.
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

/// Creates, rotates and ends sessions; the last operation is always an end.
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

/// The whole content of the store.
pub(super) async fn state(store: &AnyStore) -> Result<State, StoreError> {
    let sessions = store.all_sessions(None, 100_000).await?;
    let log = store.revocations().await?;
    let (mut revocations, over) = (log.revocations, log.ended_through);
    revocations.sort_by_key(|revocation| revocation.session);
    let users = store.users(&TenantId::default(), None, 100_000).await?;
    let audit = store.audit(None, 100_000).await?;
    Ok(State {
        commit: testing::last_commit(store),
        content: format!("{sessions:?}{revocations:?}{users:?}{audit:?}{over:?}"),
    })
}
