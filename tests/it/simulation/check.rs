//! Do all invariants hold after every step, compared with the model?

use sidegate::service::Caller;
use sidegate::store::{Lifecycle as _, SessionStore as _};

use super::life::Life;

impl Life {
    /// Asserts the invariants.
    pub(super) async fn check(&mut self) {
        self.what_was_refused_is_refused().await;
        let now = self.world.now();
        let store = self.world.service.store();
        let (mut live, mut unended) = (0, 0);
        for account in &self.accounts {
            for session in &account.sessions {
                let found = store.session(&session.key).await.unwrap();
                let generation = found.map(|found| found.generation.0);
                let expected = session.lives(now).then_some(session.generation);
                assert_eq!(generation, expected, "{}", session.key.id);
                for (number, access) in session.access.iter().enumerate().rev().take(3) {
                    let (token, generation, _) = access;
                    let passes = self.world.passes(token).await;
                    if let Some(admits) = session.admits(number, now) {
                        assert_eq!(passes, admits, "access of {generation}");
                    }
                    if !passes {
                        self.refused.push(token.clone());
                    }
                }
                live += u64::from(session.lives(now));
                unended += u64::from(!session.ended);
            }
            if let Some(session) = account.sessions.first() {
                let listed = self.world.service.sessions(&session.key).await.unwrap();
                let mut listed: Vec<_> = listed.iter().map(|session| session.key.id).collect();
                let alive = account.sessions.iter().filter(|session| session.lives(now));
                let mut alive: Vec<_> = alive.map(|session| session.key.id).collect();
                listed.sort_unstable();
                alive.sort_unstable();
                assert_eq!(listed, alive, "the list of {}", account.name);
            }
        }
        for ghost in &self.ghosts {
            assert_eq!(store.session(&ghost.key).await, Ok(None));
            for (token, ..) in &ghost.access {
                assert!(
                    !self.world.passes(token).await,
                    "a session of a deleted account"
                );
            }
            let newest = ghost.refresh.values().last().unwrap();
            let caller = Caller::default();
            let refreshed = self.world.service.refresh(newest, &caller);
            assert!(refreshed.await.is_err(), "a session of a deleted account");
        }
        let stats = store.stats();
        let counted = (live..=unended).contains(&stats.sessions);
        assert!(
            counted,
            "{} sessions counted, {live} live, {unended} not ended",
            stats.sessions
        );
        assert_eq!(stats.users, self.accounts.len() as u64);
    }
}
