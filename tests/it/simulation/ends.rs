//! Steps that end sessions: log-out, the end of other or all sessions, a restored backup.

use sidegate::service::{Caller, IncludeCurrent};
use sidegate::store::backup::Sessions;

use super::life::Life;
use super::model::Session;

impl Life {
    pub(super) async fn log_out(&mut self) {
        self.story.push("log-out");
        let now = self.world.now();
        if let Some((at, of)) = self.some_session() {
            let session = &mut self.accounts[at].sessions[of];
            let caller = Caller::default();
            self.world
                .service
                .logout(&session.key, &caller)
                .await
                .unwrap();
            session.ended |= session.lives(now);
        }
    }

    pub(super) async fn log_out_by_some_refresh_token(&mut self) {
        self.story.push("log-out by token");
        let now = self.world.now();
        if let Some((at, of)) = self.some_session() {
            let presented = self.some_generation(at, of);
            let session = &mut self.accounts[at].sessions[of];
            let token = &session.refresh[&presented];
            let caller = Caller::default();
            self.world
                .service
                .logout_by_refresh(token, &caller)
                .await
                .unwrap();
            session.ended |= session.lives(now);
        }
    }

    pub(super) async fn end_sessions(&mut self) {
        self.story.push("end sessions");
        let now = self.world.now();
        let Some((at, of)) = self.some_session() else {
            return;
        };
        let (include, kept) = match self.roll(2) {
            0 => (IncludeCurrent::Yes, None),
            _ => (IncludeCurrent::No, Some(of)),
        };
        let account = &mut self.accounts[at];
        let key = account.sessions[of].key.clone();
        let caller = Caller::default();
        let ended = self
            .world
            .service
            .end_sessions(&key, include, &caller)
            .await
            .unwrap();
        assert_eq!(ended, account.end_others(kept, now), "how many ended");
    }

    pub(super) async fn end_everything(&mut self) {
        self.story.push("end of all");
        self.world.service.operator_end_all().await.unwrap();
        let cleared = self.world.service.operator_clear_ended().await.unwrap();
        assert!(cleared.unwrap().is_complete);
        let all = self.accounts.iter_mut().flat_map(|a| a.sessions.iter_mut());
        all.for_each(|session| session.ended = true);
    }

    pub(super) async fn save(&mut self) {
        self.story.push("backup");
        self.saved = Some((self.world.save().await, self.accounts.clone()));
    }

    /// The store is lost, and the backup replaces it.
    pub(super) async fn restore(&mut self) {
        let Some((backup, before)) = &self.saved else {
            return;
        };
        let sessions = [Sessions::End, Sessions::Keep][self.roll(2)];
        self.story.push(match sessions {
            Sessions::End => "restored",
            Sessions::Keep => "restored with sessions",
        });
        self.world.restore(backup, sessions).await;
        // Sessions that ended after the backup continue when the option asks for it.
        if sessions == Sessions::Keep {
            self.refused.clear();
        }
        let mut accounts = before.clone();
        if sessions == Sessions::End {
            let all = accounts.iter_mut().flat_map(|a| a.sessions.iter_mut());
            all.for_each(|session| session.ended = true);
        }
        // Sessions that began after the backup are unknown to the store: their tokens are refused.
        for mut lost in std::mem::replace(&mut self.accounts, accounts) {
            let known = self.accounts.iter_mut().find(|a| a.name == lost.name);
            lost.sessions
                .iter_mut()
                .for_each(|session| session.ended = true);
            match known {
                Some(account) => {
                    let is_known =
                        |lost: &Session| account.sessions.iter().any(|s| s.key == lost.key);
                    lost.sessions.retain(|session| !is_known(session));
                    account.sessions.splice(0..0, lost.sessions);
                }
                None => self.ghosts.append(&mut lost.sessions),
            }
        }
    }
}
