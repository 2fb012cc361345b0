//! How often: token buckets behind verbs, one per thing worth protecting.
//!
//! | verb | counted by | quota |
//! |---|---|---|
//! | [`Limits::login`] | client address and account name | `limits.login` |
//! | | client address | ten times `limits.login` |
//! | [`Limits::signup`] | client address | `limits.signup` |
//! | [`Limits::refresh`] | session | `limits.refresh` |
//! | [`Limits::lists`] | user | `limits.lists` |
//!
//! IPv6 addresses count by their /64. The number of keys is bounded: above [`MAX_KEYS`] new keys
//! share coarse buckets (an attacker who invents keys only crowds themselves), and
//! [`Limits::housekeep`] forgets the idle ones.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as GovernorClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota as Bucket, RateLimiter};

use crate::types::ids::{SessionId, UserId};
use crate::types::net;
use crate::types::time::Clock;

/// The most keys one limiter remembers before new ones share coarse buckets.
pub const MAX_KEYS: usize = 100_000;

/// Coarse buckets used above [`MAX_KEYS`].
const COARSE: u64 = 1024;

/// `N/period`: that many in a burst, refilled evenly over the period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// How many.
    pub count: NonZeroU32,
    /// In which time.
    pub period: Duration,
}

/// The limits by what they guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Log-ins of one account name from one address; an address in all has ten times as many.
    pub login: Quota,
    /// Sign-ups from one address.
    pub signup: Quota,
    /// Refreshes of one session.
    pub refresh: Quota,
    /// Session lists and ends of one user.
    pub lists: Quota,
}

/// A limit that was exceeded; what `Retry-After` and `RateLimit-*` are made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// When one more will be admitted.
    pub retry_after: Duration,
    /// The quota that was used up.
    pub quota: Quota,
}

/// All limits of the process.
#[derive(Debug)]
pub struct Limits {
    login: Arc<Limiter>,
    address: Arc<Limiter>,
    signup: Arc<Limiter>,
    refresh: Arc<Limiter>,
    lists: Arc<Limiter>,
}

impl Limits {
    /// Empty buckets for the given quotas.
    pub fn new(settings: &Settings, clock: &Arc<dyn Clock>) -> Self {
        let fresh = |quota| Arc::new(Limiter::new(quota, clock));
        Self {
            login: fresh(settings.login),
            address: fresh(ten_times(settings.login)),
            signup: fresh(settings.signup),
            refresh: fresh(settings.refresh),
            lists: fresh(settings.lists),
        }
    }

    /// Limits for other quotas. One that stays as it is goes on with what it has counted, so that
    /// nobody gains a fresh burst from a change somewhere else.
    #[must_use]
    pub fn with(&self, settings: &Settings, clock: &Arc<dyn Clock>) -> Self {
        let next = |before: &Arc<Limiter>, quota| {
            if before.quota == quota {
                Arc::clone(before)
            } else {
                Arc::new(Limiter::new(quota, clock))
            }
        };
        Self {
            login: next(&self.login, settings.login),
            address: next(&self.address, ten_times(settings.login)),
            signup: next(&self.signup, settings.signup),
            refresh: next(&self.refresh, settings.refresh),
            lists: next(&self.lists, settings.lists),
        }
    }

    /// One more log-in of this account name from this address.
    pub fn login(&self, address: Option<IpAddr>, account: &str) -> Result<(), Exceeded> {
        let from = address.map(net::limit_key);
        self.address.check(&from)?;
        self.login.check(&(from, account))
    }

    /// One more sign-up from this address.
    pub fn signup(&self, address: Option<IpAddr>) -> Result<(), Exceeded> {
        self.signup.check(&address.map(net::limit_key))
    }

    /// One more refresh of this session.
    pub fn refresh(&self, session: SessionId) -> Result<(), Exceeded> {
        self.refresh.check(&session)
    }

    /// One more look at, or end of, this user's sessions.
    pub fn lists(&self, user: UserId) -> Result<(), Exceeded> {
        self.lists.check(&user)
    }

    /// Forgets keys whose buckets are full again. Call it every few seconds.
    pub fn housekeep(&self) {
        for limiter in [
            &self.login,
            &self.address,
            &self.signup,
            &self.refresh,
            &self.lists,
        ] {
            limiter.buckets.retain_recent();
            limiter.buckets.shrink_to_fit();
        }
    }

    /// How many keys are remembered.
    pub fn keys(&self) -> usize {
        [
            &self.login,
            &self.address,
            &self.signup,
            &self.refresh,
            &self.lists,
        ]
        .iter()
        .map(|limiter| limiter.buckets.len())
        .sum()
    }
}

/// What an address may do in all, where one account name from it may do `quota`.
fn ten_times(quota: Quota) -> Quota {
    let ten = NonZeroU32::MIN.saturating_add(9);
    Quota {
        count: quota.count.saturating_mul(ten),
        period: quota.period,
    }
}

/// One quota over many keys. Keys are 64-bit hashes under a random seed: what a key was cannot be
/// read back, and a collision costs a stranger one shared bucket in 2^32.
struct Limiter {
    quota: Quota,
    seed: std::hash::RandomState,
    buckets: RateLimiter<u64, DashMapStateStore<u64>, InjectedClock, NoOpMiddleware<Moment>>,
}

impl Limiter {
    fn new(quota: Quota, clock: &Arc<dyn Clock>) -> Self {
        let interval = quota.period.max(Duration::from_millis(1)) / quota.count.get();
        let bucket = Bucket::with_period(interval.max(Duration::from_nanos(1)))
            .unwrap_or_else(|| Bucket::per_second(quota.count))
            .allow_burst(quota.count);
        let store = DashMapStateStore::default();
        let buckets = RateLimiter::new(bucket, store, InjectedClock(Arc::clone(clock)));
        Self {
            quota,
            seed: std::hash::RandomState::new(),
            buckets,
        }
    }

    fn check(&self, key: &impl Hash) -> Result<(), Exceeded> {
        let mut hasher: DefaultHasher = std::hash::BuildHasher::build_hasher(&self.seed);
        key.hash(&mut hasher);
        let mut hash = hasher.finish();
        if self.buckets.len() >= MAX_KEYS {
            hash %= COARSE;
        }
        match self.buckets.check_key(&hash) {
            Ok(()) => Ok(()),
            Err(until) => {
                let wait = until.wait_time_from(self.buckets.clock().now());
                Err(Exceeded {
                    retry_after: wait,
                    quota: self.quota,
                })
            }
        }
    }
}

impl std::fmt::Debug for Limiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limiter")
            .field("quota", &self.quota)
            .finish_non_exhaustive()
    }
}

/// Our clock, as the limiter wants it.
#[derive(Debug, Clone)]
struct InjectedClock(Arc<dyn Clock>);

impl GovernorClock for InjectedClock {
    type Instant = Moment;

    fn now(&self) -> Moment {
        Moment(u64::try_from(self.0.monotonic().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// Nanoseconds of the monotonic clock: a wall clock that is set gives nobody a fresh burst and keeps
/// nobody out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Moment(u64);

impl Reference for Moment {
    fn duration_since(&self, earlier: Self) -> Nanos {
        Nanos::from(self.0.saturating_sub(earlier.0))
    }

    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0.saturating_sub(duration.as_u64()))
    }
}

impl std::ops::Add<Nanos> for Moment {
    type Output = Self;

    fn add(self, span: Nanos) -> Self {
        Self(self.0.saturating_add(span.as_u64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::time::{ManualClock, Timestamp};

    const HOUR: Duration = Duration::from_secs(3_600);

    fn quota(count: u32) -> Quota {
        Quota {
            count: NonZeroU32::new(count).unwrap(),
            period: HOUR,
        }
    }

    fn limits() -> (Limits, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_000_000)));
        let settings = Settings {
            login: quota(3),
            signup: quota(2),
            refresh: quota(2),
            lists: quota(2),
        };
        let shared: Arc<dyn Clock> = clock.clone();
        (Limits::new(&settings, &shared), clock)
    }

    fn ip(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    #[test]
    fn a_used_up_quota_says_when_to_come_back_and_then_admits() {
        let (limits, clock) = limits();
        for _ in 0..3 {
            limits.login(ip("192.0.2.1"), "ann").unwrap();
        }
        let exceeded = limits.login(ip("192.0.2.1"), "ann").unwrap_err();
        assert_eq!(exceeded.quota, quota(3));
        assert!(exceeded.retry_after <= HOUR / 3 && exceeded.retry_after > Duration::ZERO);
        clock.advance(HOUR / 3);
        limits.login(ip("192.0.2.1"), "ann").unwrap();
    }

    #[test]
    fn accounts_and_addresses_are_counted_apart() {
        let (limits, _) = limits();
        for _ in 0..3 {
            limits.login(ip("192.0.2.1"), "ann").unwrap();
        }
        limits.login(ip("192.0.2.1"), "bob").unwrap();
        limits.login(ip("192.0.2.2"), "ann").unwrap();
    }

    #[test]
    fn one_address_cannot_try_every_account() {
        let (limits, _) = limits();
        let admitted = (0..100)
            .filter(|n| limits.login(ip("192.0.2.1"), &format!("user{n}")).is_ok())
            .count();
        assert_eq!(admitted, 30);
    }

    #[test]
    fn a_whole_ipv6_subnet_is_one_client() {
        let (limits, _) = limits();
        limits.signup(ip("2001:db8::1")).unwrap();
        limits.signup(ip("2001:db8::2")).unwrap();
        assert!(limits.signup(ip("2001:db8::ffff")).is_err());
        limits.signup(ip("2001:db8:0:1::1")).unwrap();
        limits.signup(ip("::ffff:192.0.2.1")).unwrap();
        limits.signup(ip("192.0.2.1")).unwrap();
        assert!(
            limits.signup(ip("192.0.2.1")).is_err(),
            "mapped and plain are one address"
        );
    }

    #[test]
    fn a_million_made_up_keys_stay_bounded_and_are_forgotten() {
        let (limits, clock) = limits();
        for n in 0..1_000_000u128 {
            let _ = limits.refresh(SessionId::from_bytes(n.to_be_bytes()));
        }
        assert!(limits.keys() <= MAX_KEYS + 2_048, "{}", limits.keys());
        clock.advance(HOUR * 2);
        limits.housekeep();
        assert_eq!(limits.keys(), 0);
    }
}
