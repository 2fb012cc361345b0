//! Token buckets by key, in a bounded table.
//!
//! A bucket is one number, the moment at which it will be full again (the theoretical arrival time of
//! GCRA). Taking a token moves it forward by one interval; returning it moves it back. Keys are 64-bit
//! hashes with a random seed: the original key cannot be recovered, and two clients share a bucket by a
//! collision once in 2^32.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::limits::{Exceeded, Quota, Refused};
use crate::types::time::Clock;

/// The most keys one limiter remembers.
pub const MAX_KEYS: usize = 100_000;

/// How long a caller waits for a token that may be returned.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The table is an associative one: a key may only be in its set.
const SETS: u64 = 12_500;

/// The most keys of one set: [`MAX_KEYS`] in all sets.
const WAYS: usize = 8;

/// The most callers of one limiter that wait.
const MAX_WAITING: usize = 1_024;

/// One quota over many keys.
pub(super) struct Limiter {
    pub(super) quota: Quota,
    /// Nanoseconds from one token to the next.
    interval: u64,
    /// Nanoseconds from empty to full.
    window: u64,
    clock: Arc<dyn Clock>,
    seed: RandomState,
    sets: Mutex<HashMap<u64, Vec<Bucket>>>,
    waiting: AtomicUsize,
}

struct Bucket {
    key: u64,
    /// When it is full again, in nanoseconds.
    full_at: u64,
    /// Tokens that were taken and may be returned.
    pending: u32,
    /// Notifies waiting callers that a token was settled.
    settled: Option<watch::Sender<()>>,
}

/// The result of one attempt to take a token.
enum Step {
    /// With the moment at which the bucket will be full again.
    Taken(u64),
    Exceeded(Exceeded),
    /// Other attempts are in progress.
    Wait(watch::Receiver<()>),
}

/// A token that was taken. Dropped, it stays used.
#[must_use]
pub struct Token {
    limiter: Arc<Limiter>,
    key: u64,
    /// When its bucket would be full again if no other token were taken. From then on time has refilled this
    /// token, and it cannot be returned.
    full_at: u64,
    comes_back: bool,
}

impl Token {
    /// Puts the token back.
    pub fn give_back(mut self) {
        self.comes_back = true;
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.limiter.settle(self);
    }
}

impl Limiter {
    pub(super) fn new(quota: Quota, clock: &Arc<dyn Clock>) -> Self {
        let period = quota.period.max(Duration::from_millis(1));
        let interval = nanos(period / quota.count.get()).max(1);
        Self {
            quota,
            interval,
            window: interval.saturating_mul(quota.count.get().into()),
            clock: Arc::clone(clock),
            seed: RandomState::new(),
            sets: Mutex::default(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// The same limiter if the quota is unchanged, otherwise an empty one.
    pub(super) fn next(before: &Arc<Self>, quota: Quota, clock: &Arc<dyn Clock>) -> Arc<Self> {
        if before.quota == quota {
            Arc::clone(before)
        } else {
            Arc::new(Self::new(quota, clock))
        }
    }

    /// Takes a token, or waits for one that may be returned.
    pub(super) async fn take(self: &Arc<Self>, key: &impl Hash) -> Result<Token, Refused> {
        let key = self.seed.hash_one(key);
        let until = Instant::now() + PATIENCE;
        let mut place = None;
        loop {
            let mut settled = match self.step(key) {
                Step::Taken(full_at) => return Ok(self.token(key, full_at)),
                Step::Exceeded(exceeded) => return Err(Refused::Exceeded(exceeded)),
                Step::Wait(settled) => settled,
            };
            if place.is_none() {
                place = Some(self.place().ok_or(Refused::Busy)?);
            }
            // An error means that the bucket was dropped, so it was settled.
            if timeout_at(until, settled.changed()).await.is_err() {
                return Err(Refused::Busy);
            }
        }
    }

    /// Takes a token if there is one.
    pub(super) fn take_now(self: &Arc<Self>, key: &impl Hash) -> Result<Token, Exceeded> {
        let key = self.seed.hash_one(key);
        let mut sets = self.lock();
        let now = self.now();
        match Self::bucket(&mut sets, key, now).take(self, now) {
            Ok(full_at) => Ok(self.token(key, full_at)),
            Err(exceeded) => Err(exceeded),
        }
    }

    /// Forgets full buckets.
    pub(super) fn housekeep(&self) {
        let now = self.now();
        let mut sets = self.lock();
        sets.retain(|_, set| {
            set.retain(|bucket| bucket.full_at > now || bucket.pending > 0);
            !set.is_empty()
        });
        sets.shrink_to_fit();
    }

    /// How many keys are remembered.
    pub(super) fn keys(&self) -> usize {
        self.lock().values().map(Vec::len).sum()
    }

    fn step(&self, key: u64) -> Step {
        let mut sets = self.lock();
        let now = self.now();
        let bucket = Self::bucket(&mut sets, key, now);
        match bucket.take(self, now) {
            Ok(full_at) => Step::Taken(full_at),
            Err(exceeded) if bucket.pending == 0 => Step::Exceeded(exceeded),
            Err(_) => {
                let settled = bucket.settled.get_or_insert_with(|| watch::Sender::new(()));
                Step::Wait(settled.subscribe())
            }
        }
    }

    fn token(self: &Arc<Self>, key: u64, full_at: u64) -> Token {
        Token {
            limiter: Arc::clone(self),
            key,
            full_at,
            comes_back: false,
        }
    }

    fn settle(&self, token: &Token) {
        let now = self.now();
        let mut sets = self.lock();
        let Some(set) = sets.get_mut(&(token.key % SETS)) else {
            return;
        };
        let Some(bucket) = set.iter_mut().find(|bucket| bucket.key == token.key) else {
            return;
        };
        bucket.pending = bucket.pending.saturating_sub(1);
        if token.comes_back && token.full_at > now {
            bucket.full_at = bucket.full_at.saturating_sub(self.interval);
        }
        if let Some(settled) = &bucket.settled {
            settled.send_replace(());
        }
        if bucket.pending == 0 {
            bucket.settled = None;
        }
    }

    /// The bucket of a key. If the set is full, the key with the smallest debt is removed, but no key with a
    /// pending token.
    fn bucket(sets: &mut HashMap<u64, Vec<Bucket>>, key: u64, now: u64) -> &mut Bucket {
        let set = sets.entry(key % SETS).or_default();
        let at = set.iter().position(|bucket| bucket.key == key);
        let at = at.unwrap_or_else(|| {
            if set.len() >= WAYS {
                set.retain(|bucket| bucket.full_at > now || bucket.pending > 0);
            }
            if set.len() >= WAYS {
                let settled = set.iter().enumerate().filter(|(_, b)| b.pending == 0);
                if let Some((least, _)) = settled.min_by_key(|(_, bucket)| bucket.full_at) {
                    set.swap_remove(least);
                }
            }
            set.push(Bucket {
                key,
                full_at: now,
                pending: 0,
                settled: None,
            });
            set.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "found or pushed just now")]
        &mut set[at]
    }

    /// A slot in the queue of waiting callers.
    fn place(&self) -> Option<Place<'_>> {
        let place = Place(&self.waiting);
        (self.waiting.fetch_add(1, Ordering::AcqRel) < MAX_WAITING).then_some(place)
    }

    /// Nanoseconds of the monotonic clock: a change of the wall clock neither refills a bucket nor
    /// locks a caller out.
    fn now(&self) -> u64 {
        nanos(self.clock.monotonic())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Vec<Bucket>>> {
        self.sets.lock()
    }
}

impl Bucket {
    fn take(&mut self, limiter: &Limiter, now: u64) -> Result<u64, Exceeded> {
        let full_at = self.full_at.max(now).saturating_add(limiter.interval);
        let latest = now.saturating_add(limiter.window);
        if full_at > latest {
            return Err(Exceeded {
                retry_after: Duration::from_nanos(full_at - latest),
                quota: limiter.quota,
            });
        }
        self.full_at = full_at;
        self.pending = self.pending.saturating_add(1);
        Ok(full_at)
    }
}

/// Counts one waiting caller, until dropped.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

impl std::fmt::Debug for Limiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limiter")
            .field("quota", &self.quota)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("quota", &self.limiter.quota)
            .finish_non_exhaustive()
    }
}
