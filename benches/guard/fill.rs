//! Makes a store with many active sessions, some of which have just ended, for a measured Sidegate.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sidegate::model::session::EndReason;
use sidegate::model::user::UserKey;
use sidegate::store::settings::{Engine, Settings};
use sidegate::store::{
    AnyStore, Cap, Lifecycle as _, Scope, SessionStore as _, StoreError, WhenFull,
};
use sidegate::types::ids::{TenantId, UserId};
use sidegate::types::random::SeededRandom;
use sidegate::types::time::{Clock as _, SystemClock};
use tokio::task::JoinSet;

use crate::Outcome;
use crate::session::session;

/// Number of concurrent callers, which share the syncs.
const CALLERS: u64 = 512;

/// Creates `sessions` sessions, each of another user, and ends `ended` of them, evenly spread.
pub(crate) async fn run(folder: &Path, sessions: u64, ended: u64) -> Outcome<String> {
    let settings = Settings {
        engine: Engine::Sled {
            path: folder.to_owned(),
            cache: 256 << 20,
        },
        deadline: Duration::from_secs(60),
        revocation_life: Duration::from_secs(3_605),
        audit_life: Duration::from_secs(3_600),
        lock_wait: Duration::ZERO,
    };
    let store = Arc::new(AnyStore::open(&settings, Arc::new(SystemClock::default()))?);
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let store = Arc::clone(&store);
        let share = |all: u64| all / CALLERS + u64::from(caller < all % CALLERS);
        callers.spawn(fill(store, caller, share(sessions), share(ended)));
    }
    while let Some(outcome) = callers.join_next().await {
        outcome??;
    }
    store.close().await?;
    Ok(format!("{{\"sessions\":{sessions},\"ended\":{ended}}}"))
}

async fn fill(
    store: Arc<AnyStore>,
    caller: u64,
    sessions: u64,
    ended: u64,
) -> Result<(), StoreError> {
    let (clock, random) = (SystemClock::default(), SeededRandom::new(caller));
    let cap = Cap {
        max: 50,
        when_full: WhenFull::EndOldest,
    };
    for number in 0..sessions + ended {
        let now = clock.now();
        let owner = UserKey {
            tenant: TenantId::default(),
            user: UserId::generate(now, &random),
        };
        let session = session(&owner, &random, now);
        let key = session.key.clone();
        store.create(session, cap, None).await?;
        if number < ended {
            store.end(&Scope::One(key), EndReason::LoggedOut).await?;
        }
    }
    Ok(())
}
