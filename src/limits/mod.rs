//! How often may an action happen? Token buckets, with one method for each protected action.
//!
//! | verb | counted by | quota |
//! |---|---|---|
//! | [`Limits::attempt_from`] | client address | ten times `limits.login` |
//! | | its wider networks | that times 4 (IPv6 /56) and 16 (IPv6 /48, IPv4 /24) |
//! | [`Limits::attempt_at`] | client address and name | `limits.login` |
//! | [`Limits::signup`] | client address, its wider networks | `limits.signup`, 4 and 16 times |
//! | [`Limits::refresh`] | session | `limits.refresh` |
//! | [`Limits::lists`] | user | `limits.lists` |
//!
//! An IPv6 client counts by its /64. A verb takes a token before the work is begun; when the attempt does not
//! count it is returned, and a token that is dropped stays used. While tokens may still be returned, the next
//! caller waits for them instead of being refused, so that parallel callers never get more than the quota of
//! attempts that count, and none is refused because others are in progress.
//!
//! The number of keys is bounded. If there is no space, the key with the smallest debt is removed, so invented
//! keys replace only invented keys. Names without an account have their own table, so invented names do not
//! affect the keys of accounts. A client cannot distinguish the two tables.

mod bucket;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::types::ids::{SessionId, UserId};
use crate::types::net::{self, Networks};
use crate::types::time::Clock;

use self::bucket::Limiter;

pub use self::bucket::{MAX_KEYS, PATIENCE, Token};

/// `N/period`: that many in a burst, refilled evenly over the period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// How many.
    pub count: NonZeroU32,
    /// In which time.
    pub period: Duration,
}

impl Quota {
    fn times(self, factor: u32) -> Self {
        let factor = NonZeroU32::new(factor).unwrap_or(NonZeroU32::MIN);
        Self {
            count: self.count.saturating_mul(factor),
            period: self.period,
        }
    }
}

/// The limits, by protected action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Failed log-ins of one account name from one address; an address in all has ten times as many.
    pub login: Quota,
    /// Sign-ups from one address.
    pub signup: Quota,
    /// Refreshes of one session.
    pub refresh: Quota,
    /// Session lists and ends of one user.
    pub lists: Quota,
}

/// Why a verb gave no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The quota is used up.
    Exceeded(Exceeded),
    /// As many attempts as the quota admits are in progress, and none ended in time.
    Busy,
}

/// An exceeded limit, with the values for `Retry-After` and `RateLimit-*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// When one more will be admitted.
    pub retry_after: Duration,
    /// The quota that was used up.
    pub quota: Quota,
}

/// The name that a password is tried for.
#[derive(Debug, Clone, Copy)]
pub enum Name<'a> {
    /// An account, by the name that was typed.
    OfAccount(UserId, &'a str),
    /// A name that no account has.
    OfNoAccount(&'a str),
}

/// The tokens of one attempt at a password. Dropped, the attempt counts.
#[derive(Debug, Default)]
#[must_use]
pub struct Attempt(Vec<Token>);

impl Attempt {
    /// The attempt does not count: it succeeded, or it revealed nothing about the password.
    pub fn give_back(self) {
        for token in self.0 {
            token.give_back();
        }
    }
}

/// All limits of the process.
#[derive(Debug)]
pub struct Limits {
    accounts: Arc<Limiter>,
    nobodies: Arc<Limiter>,
    addresses: Levels,
    signup: Levels,
    refresh: Arc<Limiter>,
    lists: Arc<Limiter>,
}

impl Limits {
    /// Empty buckets for the given quotas.
    pub fn new(settings: &Settings, clock: &Arc<dyn Clock>) -> Self {
        let fresh = |quota| Arc::new(Limiter::new(quota, clock));
        Self {
            accounts: fresh(settings.login),
            nobodies: fresh(settings.login),
            addresses: Levels::new(settings.login.times(10), clock),
            signup: Levels::new(settings.signup, clock),
            refresh: fresh(settings.refresh),
            lists: fresh(settings.lists),
        }
    }

    /// Limits with other quotas. A limit with an unchanged quota keeps its counts, so a change of
    /// another limit does not refill it.
    #[must_use]
    pub fn with(&self, settings: &Settings, clock: &Arc<dyn Clock>) -> Self {
        let next = |before, quota| Limiter::next(before, quota, clock);
        Self {
            accounts: next(&self.accounts, settings.login),
            nobodies: next(&self.nobodies, settings.login),
            addresses: self.addresses.next(settings.login.times(10), clock),
            signup: self.signup.next(settings.signup, clock),
            refresh: next(&self.refresh, settings.refresh),
            lists: next(&self.lists, settings.lists),
        }
    }

    /// One more attempt at a password from this address, before anything is known about the name.
    pub async fn attempt_from(&self, address: Option<IpAddr>) -> Result<Attempt, Refused> {
        self.addresses.take(address).await
    }

    /// The same attempt, at this name.
    pub async fn attempt_at(
        &self,
        attempt: &mut Attempt,
        address: Option<IpAddr>,
        name: Name<'_>,
    ) -> Result<(), Refused> {
        let from = address.map(net::limit_key);
        let token = match name {
            Name::OfAccount(user, name) => self.accounts.take(&(from, user, name)).await,
            Name::OfNoAccount(name) => self.nobodies.take(&(from, name)).await,
        };
        attempt.0.push(token?);
        Ok(())
    }

    /// One more sign-up from this address.
    pub async fn signup(&self, address: Option<IpAddr>) -> Result<Attempt, Refused> {
        self.signup.take(address).await
    }

    /// One more refresh of this session.
    pub fn refresh(&self, session: SessionId) -> Result<Token, Exceeded> {
        self.refresh.take_now(&session)
    }

    /// Counts one list or end of this user's sessions.
    pub fn lists(&self, user: UserId) -> Result<Token, Exceeded> {
        self.lists.take_now(&user)
    }

    /// Forgets keys whose buckets are full again. Call it every few seconds.
    pub fn housekeep(&self) {
        self.all().for_each(|limiter| limiter.housekeep());
    }

    /// How many keys are remembered.
    pub fn keys(&self) -> usize {
        self.all().map(|limiter| limiter.keys()).sum()
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Limiter>> {
        [&self.accounts, &self.nobodies, &self.refresh, &self.lists]
            .into_iter()
            .chain(&self.addresses.0)
            .chain(&self.signup.0)
    }
}

/// One quota for an address and larger ones for the networks around it, the widest first. The widest is checked
/// first: the owner of a /48 can use any number of addresses.
#[derive(Debug)]
struct Levels([Arc<Limiter>; Networks::LEVELS]);

/// How many times the quota of one address each network has, the widest first.
const SHARES: [u32; Networks::LEVELS] = [16, 4, 1];

impl Levels {
    fn new(quota: Quota, clock: &Arc<dyn Clock>) -> Self {
        Self(SHARES.map(|share| Arc::new(Limiter::new(quota.times(share), clock))))
    }

    fn next(&self, quota: Quota, clock: &Arc<dyn Clock>) -> Self {
        let mut shares = SHARES.into_iter();
        Self(self.0.each_ref().map(|before| {
            let share = shares.next().unwrap_or(1);
            Limiter::next(before, quota.times(share), clock)
        }))
    }

    async fn take(&self, address: Option<IpAddr>) -> Result<Attempt, Refused> {
        let mut attempt = Attempt::default();
        let networks = address.map(Networks::of);
        for (level, limiter) in self.0.iter().enumerate() {
            let key = networks.map(|networks| networks.level(level));
            match limiter.take(&key).await {
                Ok(token) => attempt.0.push(token),
                Err(refused) => {
                    // An attempt that is refused here is not counted, so it does
                    // not use up the network's quota.
                    attempt.give_back();
                    return Err(refused);
                }
            }
        }
        Ok(attempt)
    }
}
