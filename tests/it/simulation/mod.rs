//! Random histories: accounts sign up, log in, refresh, lose replies, have tokens stolen, log out and
//! are locked, while roles change, the clock is set in both directions, the process restarts, and the
//! store is lost and restored from a backup. After every step the service must agree with a small model,
//! and the invariants must hold.
//!
//! A seed determines a whole history: `SIDEGATE_SIM_SEED=n cargo test --test it simulation` repeats
//! history n. `SIDEGATE_SIM_SEEDS=n` runs n histories. (The progress of a cancelled call does not depend
//! on the seed; the model accepts both permitted outcomes.)

mod accounts;
mod check;
mod clocks;
mod ends;
mod life;
mod model;
mod refresh;
mod roles;
mod world;

use std::future::Future as _;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::Mutex;

use sidegate::store::Lifecycle as _;
use sidegate::tokens::keys::Keys;
use sidegate::types::random::SeededRandom;

use self::life::Life;
use self::world::World;

const STEPS: usize = 60;

/// The number of parallel histories.
const WORKERS: usize = 8;

#[test]
fn every_simulated_history_agrees_with_the_model() {
    let setting =
        |name| std::env::var_os(name).map(|n| n.to_str().unwrap().parse::<u64>().unwrap());
    let seeds = match setting("SIDEGATE_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("SIDEGATE_SIM_SEEDS").unwrap_or(256),
    };
    let directory = tempfile::tempdir().unwrap();
    let keys = world::keys(directory.path());
    let next = Mutex::new(seeds);
    let work = || {
        let one_more = || next.lock().unwrap().next();
        std::iter::from_fn(one_more).find(|seed| !is_sound(*seed, &keys))
    };
    // Most of the time is spent waiting for the thread of the store.
    let failed: Vec<u64> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        let ended = workers.into_iter().map(|worker| worker.join().unwrap());
        ended.flatten().collect()
    });
    assert!(
        failed.is_empty(),
        "to see it again: SIDEGATE_SIM_SEED={}",
        failed[0]
    );
}

fn is_sound(seed: u64, keys: &Arc<Keys>) -> bool {
    let life = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.unwrap().block_on(live(seed, keys));
    };
    catch_unwind(AssertUnwindSafe(life)).is_ok()
}

async fn live(seed: u64, keys: &Arc<Keys>) {
    let mut life = Life {
        dice: SeededRandom::new(!seed),
        world: World::new(seed, keys).await,
        accounts: Vec::new(),
        saved: None,
        ghosts: Vec::new(),
        story: Vec::new(),
        refused: Vec::new(),
    };
    for _ in 0..STEPS {
        let step = catch_unwind_async(&mut life).await;
        if let Err(panic) = step {
            println!("life {seed}: {}", life.story.join(", "));
            std::panic::resume_unwind(panic);
        }
    }
    life.world.service.store().close().await.unwrap();
}

/// One step and its check; a panic is returned, so that the steps can be printed.
async fn catch_unwind_async(life: &mut Life) -> std::thread::Result<()> {
    let mut step = pin!(async {
        life.step().await;
        life.check().await;
    });
    std::future::poll_fn(move |cx| {
        match catch_unwind(AssertUnwindSafe(|| step.as_mut().poll(cx))) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => std::task::Poll::Ready(Err(panic)),
        }
    })
    .await
}
