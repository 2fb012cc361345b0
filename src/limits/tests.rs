//! Quotas: accounts, addresses and networks are counted apart, and a full table stays bounded.

use tokio::task::JoinSet;

use super::*;
use crate::types::time::{ManualClock, Timestamp};

const HOUR: Duration = Duration::from_secs(3_600);

fn quota(count: u32) -> Quota {
    Quota {
        count: NonZeroU32::new(count).unwrap(),
        period: HOUR,
    }
}

fn limits_of(login: u32) -> (Arc<Limits>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_000_000)));
    let settings = Settings {
        login: quota(login),
        signup: quota(2),
        refresh: quota(2),
        lists: quota(2),
    };
    let shared: Arc<dyn Clock> = clock.clone();
    (Arc::new(Limits::new(&settings, &shared)), clock)
}

fn limits() -> (Arc<Limits>, Arc<ManualClock>) {
    limits_of(3)
}

fn ip(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(future)
}

fn account(n: u8) -> UserId {
    UserId::from_bytes([n; 16])
}

/// One attempt at a name that no account has.
async fn attempt(limits: &Limits, from: &str, name: &str) -> Result<Attempt, Refused> {
    let mut attempt = limits.attempt_from(ip(from)).await?;
    let name = Name::OfNoAccount(name);
    limits.attempt_at(&mut attempt, ip(from), name).await?;
    Ok(attempt)
}

/// One that counts: dropped.
async fn fail(limits: &Limits, from: &str, name: &str) -> Result<(), Refused> {
    attempt(limits, from, name).await.map(drop)
}

#[test]
fn a_used_up_quota_gives_a_retry_time_and_admits_after_it() {
    let (limits, clock) = limits();
    block_on(async {
        for _ in 0..3 {
            fail(&limits, "192.0.2.1", "ann").await.unwrap();
        }
        let refused = fail(&limits, "192.0.2.1", "ann").await.unwrap_err();
        let Refused::Exceeded(exceeded) = refused else {
            panic!("nobody is on their way");
        };
        assert_eq!(exceeded.quota, quota(3));
        assert!(exceeded.retry_after <= HOUR / 3 && exceeded.retry_after > Duration::ZERO);
        clock.advance(HOUR / 3);
        fail(&limits, "192.0.2.1", "ann").await.unwrap();
    });
}

#[test]
fn accounts_and_addresses_are_counted_apart() {
    let (limits, _) = limits();
    block_on(async {
        for _ in 0..3 {
            fail(&limits, "192.0.2.1", "ann").await.unwrap();
        }
        fail(&limits, "192.0.2.1", "bob").await.unwrap();
        fail(&limits, "192.0.2.2", "ann").await.unwrap();
    });
}

#[test]
fn one_address_cannot_try_every_account() {
    let (limits, _) = limits();
    block_on(async {
        let mut admitted = 0;
        for n in 0..100 {
            admitted += u32::from(
                fail(&limits, "192.0.2.1", &format!("user{n}"))
                    .await
                    .is_ok(),
            );
        }
        assert_eq!(admitted, 30);
    });
}

#[test]
fn the_networks_around_an_address_have_their_own_quotas() {
    let (limits, _) = limits();
    block_on(async {
        let admitted = async |address: &dyn Fn(u32) -> String| {
            let mut admitted = 0;
            for n in 0..2_000 {
                admitted += u32::from(fail(&limits, &address(n), &format!("{n}")).await.is_ok());
            }
            admitted
        };
        let in_a_56 = admitted(&|n| format!("2001:db8:1:{:x}::1", n % 256)).await;
        assert_eq!(in_a_56, 120);
        let in_a_48 = admitted(&|n| format!("2001:db8:2:{n:x}::1")).await;
        assert_eq!(in_a_48, 480);
        let in_a_24 = admitted(&|n| format!("192.0.2.{}", n % 256)).await;
        assert_eq!(in_a_24, 480);
        fail(&limits, "2001:db8:3::1", "ann").await.unwrap();
        fail(&limits, "198.51.100.1", "ann").await.unwrap();
    });
}

#[test]
fn a_whole_ipv6_subnet_is_one_client() {
    let (limits, _) = limits();
    block_on(async {
        let signup = async |from: &str| limits.signup(ip(from)).await.map(drop);
        signup("2001:db8::1").await.unwrap();
        signup("2001:db8::2").await.unwrap();
        assert!(signup("2001:db8::ffff").await.is_err());
        signup("2001:db8:0:1::1").await.unwrap();
        signup("::ffff:192.0.2.1").await.unwrap();
        signup("192.0.2.1").await.unwrap();
        let third = signup("192.0.2.1").await;
        assert!(third.is_err(), "mapped and plain are one address");
    });
}

#[test]
fn a_returned_token_can_be_taken_by_any_caller() {
    let (limits, _) = limits_of(20);
    block_on(async {
        // A bug: of 260 people behind one address the last sixty were refused.
        for n in 0..260 {
            let name = format!("user{n}");
            attempt(&limits, "192.0.2.1", &name)
                .await
                .unwrap()
                .give_back();
        }
        for _ in 0..100 {
            attempt(&limits, "192.0.2.1", "ann")
                .await
                .unwrap()
                .give_back();
        }
    });
}

#[test]
fn parallel_callers_wait_for_tokens_that_may_be_returned() {
    let (limits, _) = limits_of(20);
    block_on(async {
        let mut people = JoinSet::new();
        for n in 0..1_000 {
            let limits = Arc::clone(&limits);
            people.spawn(async move {
                let attempt = attempt(&limits, "192.0.2.1", &format!("user{n}")).await?;
                tokio::task::yield_now().await;
                attempt.give_back();
                Ok::<_, Refused>(())
            });
        }
        for outcome in people.join_all().await {
            outcome.unwrap();
        }
    });
}

#[test]
fn parallel_guesses_get_no_more_than_the_quota() {
    let (limits, _) = limits();
    block_on(async {
        let mut guesses = JoinSet::new();
        for n in 0..100_u32 {
            let limits = Arc::clone(&limits);
            guesses.spawn(async move {
                let attempt = attempt(&limits, "192.0.2.1", "ann").await?;
                tokio::task::yield_now().await;
                // Every tenth one is right.
                if n % 10 == 9 {
                    attempt.give_back();
                    return Ok(0);
                }
                drop(attempt);
                Ok::<_, Refused>(1)
            });
        }
        let outcomes = guesses.join_all().await;
        let wrong: u32 = outcomes.iter().flatten().sum();
        assert_eq!(wrong, 3);
        let mut refused = outcomes.iter().filter_map(|outcome| outcome.err());
        assert!(refused.all(|refused| matches!(refused, Refused::Exceeded(_))));
    });
}

#[test]
fn a_caller_whose_wait_fails_gets_busy() {
    let (limits, _) = limits();
    block_on(async {
        let held: Vec<_> = [
            attempt(&limits, "192.0.2.1", "ann").await.unwrap(),
            attempt(&limits, "192.0.2.1", "ann").await.unwrap(),
            attempt(&limits, "192.0.2.1", "ann").await.unwrap(),
        ]
        .into();
        let refused = attempt(&limits, "192.0.2.1", "ann").await.unwrap_err();
        assert_eq!(refused, Refused::Busy);
        for attempt in held {
            attempt.give_back();
        }
        fail(&limits, "192.0.2.1", "ann").await.unwrap();
    });
}

#[test]
fn a_refusal_of_a_narrow_limit_uses_nothing_of_the_wide_one() {
    let (limits, _) = limits();
    block_on(async {
        for n in 0..2_000 {
            let _refused_in_the_end = fail(&limits, "192.0.2.1", &format!("user{n}")).await;
        }
        let mut admitted = 0;
        for n in 2..250 {
            for name in ["a", "b"] {
                admitted += u32::from(fail(&limits, &format!("192.0.2.{n}"), name).await.is_ok());
            }
        }
        assert_eq!(admitted, 480 - 30);
    });
}

#[test]
fn invented_names_affect_neither_accounts_nor_other_clients() {
    let (limits, clock) = limits_of(20);
    block_on(async {
        // A bug: after 100,000 invented names, every name shared a few buckets, and 26 of 30 valid log-ins were
        // refused.
        for n in 0_u32..150_000 {
            let from = format!("2001:db8:{:x}:{:x}::1", n / 1_000, n % 1_000);
            fail(&limits, &from, &format!("made-up-{n}")).await.unwrap();
        }
        assert!(limits.keys() <= 5 * MAX_KEYS, "{}", limits.keys());
        for n in 0..30_u8 {
            let from = ip("192.0.2.1");
            let mut honest = limits.attempt_from(from).await.unwrap();
            let name = format!("user{n}");
            let name = Name::OfAccount(account(n), &name);
            limits.attempt_at(&mut honest, from, name).await.unwrap();
            // A typing mistake counts; also a name that does not exist is not refused for others.
            drop(honest);
            fail(&limits, "192.0.2.2", &format!("nobody{n}"))
                .await
                .unwrap();
        }
        clock.advance(HOUR * 2);
        limits.housekeep();
        assert_eq!(limits.keys(), 0);
    });
}

#[test]
fn a_key_with_more_used_quota_is_not_evicted_for_one_with_less() {
    let (limits, _) = limits_of(20);
    block_on(async {
        for _ in 0..20 {
            fail(&limits, "192.0.2.1", "ann").await.unwrap();
        }
        for n in 0_u32..150_000 {
            let from = format!("2001:db8:{:x}:{:x}::1", n / 1_000, n % 1_000);
            fail(&limits, &from, &format!("made-up-{n}")).await.unwrap();
        }
        let refused = fail(&limits, "192.0.2.1", "ann").await.unwrap_err();
        assert!(matches!(refused, Refused::Exceeded(_)));
    });
}

#[test]
fn accounts_and_unknown_names_behave_the_same() {
    let (limits, _) = limits();
    block_on(async {
        let from = ip("192.0.2.1");
        let mut seen = Vec::new();
        for of_account in [true, false] {
            let mut outcomes = Vec::new();
            // Two names: of one account, or of no account.
            for typed in ["ann", "ann@example.org"] {
                for _ in 0..5 {
                    let mut attempt = Attempt::default();
                    let name = if of_account {
                        Name::OfAccount(account(1), typed)
                    } else {
                        Name::OfNoAccount(typed)
                    };
                    outcomes.push(limits.attempt_at(&mut attempt, from, name).await);
                }
            }
            seen.push(outcomes);
        }
        assert_eq!(seen[0], seen[1]);
    });
}

#[test]
fn a_million_invented_keys_stay_bounded_and_expire() {
    let (limits, clock) = limits();
    for n in 0..1_000_000_u128 {
        drop(limits.refresh(SessionId::from_bytes(n.to_be_bytes())));
    }
    assert!(limits.keys() <= MAX_KEYS, "{}", limits.keys());
    clock.advance(HOUR * 2);
    limits.housekeep();
    assert_eq!(limits.keys(), 0);
}

/// A bug: an attempt that lasted until time had refilled its token returned the token as well, so one guess too
/// many was permitted.
#[test]
fn a_token_refilled_by_time_cannot_be_returned_again() {
    let (limits, clock) = limits();
    let (one, two) = (
        SessionId::from_bytes([1; 16]),
        SessionId::from_bytes([2; 16]),
    );
    let held = limits.refresh(one).unwrap();
    clock.advance(HOUR / 2);
    for _ in 0..2 {
        drop(limits.refresh(one).unwrap());
    }
    held.give_back();
    assert!(limits.refresh(one).is_err());
    // A token that is returned in time is available again.
    let held = limits.refresh(two).unwrap();
    drop(limits.refresh(two).unwrap());
    held.give_back();
    drop(limits.refresh(two).unwrap());
    assert!(limits.refresh(two).is_err());
}
