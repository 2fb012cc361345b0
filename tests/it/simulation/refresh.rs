//! Steps of a refresh token: used, replayed, its reply lost, its call cancelled.

use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Waker};

use sidegate::service::{AuthError, Caller};
use sidegate::store::{Lifecycle as _, SessionStore as _};

use super::life::Life;
use super::model::Refreshed;

impl Life {
    pub(super) async fn refresh_newest(&mut self) {
        self.story.push("refresh");
        if let Some((at, of)) = self.some_session() {
            let newest = *self.accounts[at].sessions[of]
                .refresh
                .keys()
                .last()
                .unwrap();
            self.refresh(at, of, newest, Reply::Arrives).await;
        }
    }

    /// A thief, a lost reply or a second tab presents an older token.
    pub(super) async fn replay_some_older(&mut self) {
        self.story.push("replay");
        if let Some((at, of)) = self.some_session() {
            let presented = self.some_generation(at, of);
            self.refresh(at, of, presented, Reply::Arrives).await;
        }
    }

    pub(super) async fn lose_a_reply(&mut self) {
        self.story.push("lost reply");
        if let Some((at, of)) = self.some_session() {
            let newest = *self.accounts[at].sessions[of]
                .refresh
                .keys()
                .last()
                .unwrap();
            self.refresh(at, of, newest, Reply::IsLost).await;
        }
    }

    pub(super) async fn refresh(&mut self, at: usize, of: usize, presented: u32, reply: Reply) {
        let now = self.world.now();
        let enabled = self.accounts[at].enabled;
        let session = &mut self.accounts[at].sessions[of];
        let token = session.refresh[&presented].clone();
        let outcome = self.world.service.refresh(&token, &Caller::default()).await;
        match (session.refresh(presented, now), outcome) {
            (Refreshed::To(next), Ok(grant)) => {
                assert!(enabled, "a closed account refreshed");
                assert_eq!(grant.session.generation.0, next, "presented {presented}");
                if reply == Reply::Arrives {
                    session.receive(&grant, next);
                }
            }
            (Refreshed::No | Refreshed::Ends, Err(AuthError::InvalidRefreshToken)) => {}
            (expected, outcome) => panic!("expected {expected:?}, was {:?}", outcome.is_ok()),
        }
    }

    /// The caller disconnects during the call: it is applied completely or not at all.
    pub(super) async fn abandon_a_refresh(&mut self) {
        self.story.push("abandoned refresh");
        let Some((at, of)) = self.some_session() else {
            return;
        };
        let now = self.world.now();
        let presented = self.some_generation(at, of);
        let session = &mut self.accounts[at].sessions[of];
        let token = session.refresh[&presented].clone();
        let polls = 1 + usize::try_from(self.dice.next() % 3).unwrap();
        {
            let caller = Caller::default();
            let mut refresh = pin!(self.world.service.refresh(&token, &caller));
            for _ in 0..polls {
                let mut cx = Context::from_waker(Waker::noop());
                if refresh.as_mut().poll(&mut cx).is_ready() {
                    break;
                }
                // An operation of the test queues behind the cancelled one.
                self.world.service.store().check().await.unwrap();
            }
        }
        self.world.service.store().check().await.unwrap();
        let found = self
            .world
            .service
            .store()
            .session(&session.key)
            .await
            .unwrap();
        let before = session.clone();
        session.refresh(presented, now);
        let as_if_done = session.lives(now) == found.is_some()
            && found
                .as_ref()
                .is_none_or(|found| found.generation.0 == session.generation);
        if !as_if_done {
            let untouched = found.map(|found| found.generation.0);
            assert_eq!(untouched, before.lives(now).then_some(before.generation));
            *session = before;
        }
    }
}

/// Whether the client receives the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    Arrives,
    IsLost,
}
