//! Changed roles while a browser is active: they apply to the next request, and the session continues.

use sidegate::types::role::{Role, Roles};

use super::accounts::named;
use super::life::Life;
use super::refresh::Reply;

impl Life {
    pub(super) async fn change_roles_of_a_browser(&mut self) {
        self.story.push("roles of a browser");
        let Some((at, of)) = self.some_session() else {
            return;
        };
        let now = self.world.now();
        let role: Role = format!("role{}", self.roll(3)).parse().unwrap();
        let roles = Roles::new([role.clone()]).unwrap();
        let account = &mut self.accounts[at];
        let service = &self.world.service;
        let changed = service.operator_set_roles(&named(account), roles).await;
        assert!(changed.unwrap().is_some());
        for session in &mut account.sessions {
            session.make_stale(now);
        }
        let session = &account.sessions[of];
        if !session.lives(now) {
            return;
        }
        let (token, ..) = session.access.last().unwrap();
        assert!(!self.world.passes(token).await, "with its old roles");
        let newest = *session.refresh.keys().last().unwrap();
        let is_good = newest == session.generation;
        self.refresh(at, of, newest, Reply::Arrives).await;
        if is_good {
            let session = &self.accounts[at].sessions[of];
            assert!(session.lives(now), "a valid browser lost its session");
            let (token, ..) = session.access.last().unwrap();
            let caller = self.world.caller(token).await.expect("the renewed token");
            let has: Vec<_> = caller.roles.iter().collect();
            assert_eq!(has, [&role]);
        }
    }
}
