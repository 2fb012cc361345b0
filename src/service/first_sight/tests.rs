//! The check of a session at the first use of a token: parallel reads, bounds and a store without an answer.

use std::task::Poll;

use super::*;
use crate::model::session::{Generation, Session};
use crate::model::user::{PasswordHash, User, UserStatus, VerifiedAddresses};
use crate::rules::session::sample;
use crate::store::testing::{self, Faults};
use crate::store::{Cap, Created, Scope, SessionStore as _, WhenFull};
use crate::types::ids::SessionId;
use crate::types::login::LoginName;
use crate::types::role::Roles;
use crate::types::time::ManualClock;

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

struct World {
    sights: FirstSights,
    store: Arc<AnyStore>,
    faults: Faults,
    clock: Arc<ManualClock>,
    events: Arc<Events>,
    session: Session,
    user: User,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(NOW));
        let shared: Arc<dyn Clock> = clock.clone();
        let (store, faults) = testing::memory(Arc::clone(&shared));
        let store = Arc::new(store);
        let events = Arc::new(Events::default());
        let session = sample(NOW);
        let user = User {
            key: session.key.owner.clone(),
            username: Some(LoginName::username("ann").unwrap()),
            email: None,
            mobile: None,
            verified: VerifiedAddresses::ALL,
            name: None,
            roles: Roles::default(),
            password: PasswordHash::new("x"),
            status: UserStatus::Enabled,
            created_at: NOW,
            updated_at: NOW,
            version: 0,
        };
        store.create_user(user.clone()).await.unwrap();
        let cap = Cap {
            max: 10,
            when_full: WhenFull::EndOldest,
        };
        let created = store.create(session.clone(), cap, None).await;
        assert!(matches!(created, Ok(Created::Stored { .. })));
        let sights = FirstSights::new(Arc::clone(&store), shared, Arc::clone(&events), 0);
        Self {
            sights,
            store,
            faults,
            clock,
            events,
            session,
            user,
        }
    }

    async fn see(&self, token: u8, session: &SessionKey) -> Result<FirstSight, Unanswered> {
        let stated = Stated {
            session,
            generation: Generation(0),
            version: Some(self.user.account_version()),
            roles: &self.user.roles,
        };
        self.sights
            .of(&[token], NOW.plus(Duration::from_secs(900)), stated)
            .await
    }

    fn reads(&self) -> u64 {
        let all = [
            Event::FirstSightAlive,
            Event::FirstSightEnded,
            Event::FirstSightStale,
            Event::FirstSightUnanswered,
        ];
        all.into_iter().map(|event| self.events.so_far(event)).sum()
    }

    async fn end(&self) {
        let scope = Scope::One(self.session.key.clone());
        let why = crate::model::session::EndReason::LoggedOut;
        self.store.end(&scope, why).await.unwrap();
    }
}

#[tokio::test]
async fn a_stored_session_is_alive_and_an_ended_or_unknown_one_is_not() {
    let world = World::new().await;
    assert_eq!(
        world.see(1, &world.session.key).await,
        Ok(FirstSight::Alive)
    );
    let mut unknown = world.session.key.clone();
    unknown.id = SessionId::from_bytes([7; 16]);
    assert_eq!(world.see(2, &unknown).await, Ok(FirstSight::Ended));
    let mut other = world.session.key.clone();
    other.owner.tenant = "acme".parse().unwrap();
    assert_eq!(world.see(3, &other).await, Ok(FirstSight::Ended));
    world.end().await;
    assert_eq!(
        world.see(4, &world.session.key).await,
        Ok(FirstSight::Ended)
    );
}

#[tokio::test]
async fn an_expired_session_is_ended() {
    let world = World::new().await;
    world.clock.advance(Duration::from_secs(2 * 86_400));
    assert_eq!(
        world.see(1, &world.session.key).await,
        Ok(FirstSight::Ended)
    );
}

#[tokio::test]
async fn a_token_of_an_ended_session_sent_again_costs_one_read() {
    let world = World::new().await;
    world.end().await;
    for _ in 0..100 {
        assert_eq!(
            world.see(1, &world.session.key).await,
            Ok(FirstSight::Ended)
        );
    }
    assert_eq!(world.reads(), 1);
    world.clock.advance(REMEMBERED);
    assert_eq!(
        world.see(1, &world.session.key).await,
        Ok(FirstSight::Ended)
    );
    assert_eq!(world.reads(), 2);
}

#[tokio::test]
async fn the_cache_of_ended_sessions_is_bounded() {
    let world = World::new().await;
    for n in 0..MOST_REMEMBERED + 10 {
        let mut key = world.session.key.clone();
        let bytes = u128::try_from(n).unwrap().to_be_bytes();
        key.id = SessionId::from_bytes(bytes);
        world.sights.remember_end(&key);
    }
    assert!(lock(&world.sights.ended).len() <= MOST_REMEMBERED);
}

#[tokio::test]
async fn parallel_requests_with_one_token_share_one_read() {
    let world = World::new().await;
    world.faults.stall(true);
    let mut waiting: Vec<_> = (0..50)
        .map(|_| Box::pin(world.see(1, &world.session.key)))
        .collect();
    for wait in &mut waiting {
        assert_eq!(polled(wait).await, None);
    }
    // A caller that stops waiting leaves the read to the others.
    drop(waiting.remove(0));
    world.faults.stall(false);
    for wait in waiting {
        assert_eq!(wait.await, Ok(FirstSight::Alive));
    }
    assert!(world.reads() <= 2, "{} reads", world.reads());
    assert!(lock(&world.sights.reads).is_empty());
}

#[tokio::test]
async fn a_check_for_one_worker_applies_to_the_others_and_is_bounded() {
    let world = World::new().await;
    assert_eq!(
        world.see(1, &world.session.key).await,
        Ok(FirstSight::Alive)
    );
    world.faults.fail_reads(true);
    assert_eq!(
        world.see(1, &world.session.key).await,
        Ok(FirstSight::Alive)
    );
    assert_eq!(world.see(2, &world.session.key).await, Err(Unanswered));
    for n in 0..MOST_COMPARED + 10 {
        let bytes = u64::try_from(n).unwrap().to_be_bytes();
        world.sights.remember_compared(sha256(&[&bytes]), NOW);
    }
    assert!(lock(&world.sights.compared).len() <= MOST_COMPARED);
}

#[tokio::test]
async fn a_read_cancelled_by_all_its_callers_is_removed() {
    let world = World::new().await;
    world.faults.stall(true);
    let mut waiting: Vec<_> = (0..3)
        .map(|_| Box::pin(world.see(1, &world.session.key)))
        .collect();
    for wait in &mut waiting {
        assert_eq!(polled(wait).await, None);
    }
    drop(waiting);
    assert!(lock(&world.sights.reads).is_empty());
    world.faults.stall(false);
    assert_eq!(
        world.see(1, &world.session.key).await,
        Ok(FirstSight::Alive)
    );
}

#[tokio::test]
async fn a_failed_read_is_an_error_for_all_waiting_callers_and_is_repeated_later() {
    let world = World::new().await;
    world.faults.fail_reads(true);
    for _ in 0..3 {
        assert_eq!(world.see(1, &world.session.key).await, Err(Unanswered));
    }
    world.faults.fail_reads(false);
    assert_eq!(
        world.see(1, &world.session.key).await,
        Ok(FirstSight::Alive)
    );
}

/// The result of one poll of a future.
async fn polled<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
    std::future::poll_fn(|cx| match std::pin::Pin::new(&mut *future).poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}
