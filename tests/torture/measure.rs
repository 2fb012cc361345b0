//! The number of durable rotations per second: one caller with a sync for each, against 64 parallel
//! callers that share syncs.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use sidegate::model::session::Generation;
use sidegate::store::{
    AnyStore, Cap, Lifecycle, RotatePolicy, Rotation, Seen, SessionStore, StoreError, WhenFull,
};
use sidegate::types::ids::UserId;
use sidegate::types::random::SeededRandom;
use sidegate::types::time::{Clock, SystemClock};
use tokio::task::JoinSet;

use crate::expected::owner;
use crate::session::session;
use crate::{Options, block_on, open};

const SPAN: Duration = Duration::from_secs(5);

/// Measures and prints.
pub(crate) fn measure(options: &Options) -> Result<bool, Box<dyn Error>> {
    for callers in [1, 8, 64, 256] {
        let work = tempfile::tempdir_in(".")?;
        let store = Arc::new(open(work.path(), options.fsync)?);
        let before = store.stats();
        let (rotations, slowest) = block_on(run(&store, callers))??;
        let after = store.stats();
        println!(
            "{callers:>3} callers: {:>6} rotations/s, {:>5} commits/s, slowest commit {} ms, \
             slowest answer {} ms",
            rotations / SPAN.as_secs(),
            (after.commits - before.commits) / SPAN.as_secs(),
            after.slowest_commit_millis,
            slowest.as_millis(),
        );
        block_on(store.close())??;
    }
    Ok(true)
}

async fn run(store: &Arc<AnyStore>, callers: u32) -> Result<(u64, Duration), StoreError> {
    let mut running = JoinSet::new();
    for caller in 0..callers {
        running.spawn(rotate(Arc::clone(store), caller));
    }
    let mut total = (0, Duration::ZERO);
    for outcome in running.join_all().await {
        let (rotations, slowest) = outcome?;
        total = (total.0 + rotations, total.1.max(slowest));
    }
    Ok(total)
}

async fn rotate(store: Arc<AnyStore>, caller: u32) -> Result<(u64, Duration), StoreError> {
    let clock = SystemClock::default();
    let random = SeededRandom::new(u64::from(caller));
    let user = owner(UserId::generate(clock.now(), &random));
    let session = session(&user, &random, clock.now());
    let key = session.key.clone();
    let cap = Cap {
        max: 5,
        when_full: WhenFull::EndOldest,
    };
    store.create(session, cap, None).await?;
    let policy = RotatePolicy {
        grace: Duration::ZERO,
        max_ahead: 0,
    };
    let end = clock.now().plus(SPAN);
    let mut slowest = Duration::ZERO;
    let mut rotations = 0;
    while clock.now() < end {
        let from = clock.now();
        let presented = Generation(u32::try_from(rotations).unwrap_or(u32::MAX));
        let outcome = store
            .rotate(&key, presented, policy, Seen::default())
            .await?;
        if !matches!(outcome, Rotation::Rotated(_)) {
            return Err(StoreError::Corrupt(format!("{outcome:?}")));
        }
        slowest = slowest.max(clock.now().since(from));
        rotations += 1;
    }
    Ok((rotations, slowest))
}
