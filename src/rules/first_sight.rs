//! Does an access token that was not seen before agree with the store?
//!
//! A signature proves the issuer of a token, not that its session exists. A store that was wiped, or
//! restored from a copy, may lack sessions whose tokens still verify, or have an earlier state of them.
//!
//! | the token | the store | outcome |
//! |---|---|---|
//! | names a session | has none of this id, user and tenant, or an expired one | ended |
//! | names a user | has no such account, or a disabled one | ended |
//! | is of a generation | is further behind than a failover can explain | ended |
//! | states roles, and a version of the account | has other roles, or an earlier version | stale |
//!
//! A token from before a refresh agrees: it stays valid until it expires.

use crate::model::session::{Generation, Session, SessionKey};
use crate::model::user::{AccountVersion, User, UserStatus};
use crate::types::role::Roles;

/// The claims of an access token that are compared with the store.
#[derive(Debug, Clone, Copy)]
pub struct Stated<'a> {
    /// Its session, with the owner.
    pub session: &'a SessionKey,
    /// The generation it was issued at.
    pub generation: Generation,
    /// The version of the account it was made from; none in tokens of earlier releases.
    pub version: Option<AccountVersion>,
    /// The roles.
    pub roles: &'a Roles,
}

/// The result of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum FirstSight {
    /// The store agrees.
    Alive,
    /// There is no such session.
    Ended,
    /// The session is live, but the account has other claims: the token must be refreshed.
    Stale,
}

/// Compares a token with its session and account as the store holds them. `max_ahead` is how many
/// generations a failover may have lost.
pub fn compare(stated: Stated<'_>, held: Option<(&Session, &User)>, max_ahead: u32) -> FirstSight {
    let Some((session, user)) = held else {
        return FirstSight::Ended;
    };
    let is_the_same = session.key == *stated.session && user.key == stated.session.owner;
    let Generation(furthest) = session.generation;
    let is_possible = stated.generation.0 <= furthest.saturating_add(max_ahead);
    if !is_the_same || !is_possible || user.status != UserStatus::Enabled {
        return FirstSight::Ended;
    }
    let is_ahead = stated
        .version
        .is_some_and(|version| version > user.account_version());
    if is_ahead || user.roles != *stated.roles {
        return FirstSight::Stale;
    }
    FirstSight::Alive
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::user::{PasswordHash, VerifiedAddresses};
    use crate::rules::session::sample;
    use crate::types::ids::{SessionId, TenantId, UserId};
    use crate::types::login::LoginName;
    use crate::types::time::Timestamp;

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    fn roles(names: &[&str]) -> Roles {
        Roles::new(names.iter().map(|name| name.parse().unwrap())).unwrap()
    }

    fn held() -> (Session, User) {
        let mut session = sample(NOW);
        session.generation = Generation(5);
        let user = User {
            key: session.key.owner.clone(),
            username: Some(LoginName::username("ann").unwrap()),
            email: None,
            mobile: None,
            verified: VerifiedAddresses::ALL,
            name: None,
            roles: roles(&["user"]),
            password: PasswordHash::new("x"),
            status: UserStatus::Enabled,
            created_at: NOW,
            updated_at: NOW,
            version: 3,
        };
        (session, user)
    }

    fn outcome(change: impl FnOnce(&mut SessionKey, &mut u32, &mut u32, &mut Roles)) -> FirstSight {
        let (session, user) = held();
        let (mut key, mut generation, mut version) = (session.key.clone(), 5, 3);
        let mut stated_roles = user.roles.clone();
        change(&mut key, &mut generation, &mut version, &mut stated_roles);
        let stated = Stated {
            session: &key,
            generation: Generation(generation),
            version: Some(AccountVersion(version)),
            roles: &stated_roles,
        };
        compare(stated, Some((&session, &user)), 2)
    }

    #[test]
    fn a_token_that_matches_the_store_is_alive() {
        assert_eq!(outcome(|_, _, _, _| {}), FirstSight::Alive);
    }

    #[test]
    fn a_token_from_before_a_refresh_or_a_change_of_the_password_is_alive() {
        assert_eq!(
            outcome(|_, generation, _, _| *generation = 0),
            FirstSight::Alive
        );
        assert_eq!(outcome(|_, _, version, _| *version = 1), FirstSight::Alive);
    }

    #[test]
    fn a_session_of_another_id_user_or_tenant_does_not_match() {
        let id = |key: &mut SessionKey| key.id = SessionId::from_bytes([9; 16]);
        let user = |key: &mut SessionKey| key.owner.user = UserId::from_bytes([9; 16]);
        let tenant = |key: &mut SessionKey| key.owner.tenant = "acme".parse::<TenantId>().unwrap();
        assert_eq!(outcome(|key, _, _, _| id(key)), FirstSight::Ended);
        assert_eq!(outcome(|key, _, _, _| user(key)), FirstSight::Ended);
        assert_eq!(outcome(|key, _, _, _| tenant(key)), FirstSight::Ended);
    }

    #[test]
    fn a_generation_may_be_ahead_by_the_failover_allowance_only() {
        assert_eq!(
            outcome(|_, generation, _, _| *generation = 7),
            FirstSight::Alive
        );
        assert_eq!(
            outcome(|_, generation, _, _| *generation = 8),
            FirstSight::Ended
        );
    }

    #[test]
    fn other_roles_or_a_version_ahead_of_the_store_are_stale() {
        assert_eq!(outcome(|_, _, version, _| *version = 4), FirstSight::Stale);
        let admin = |now: &mut Roles| *now = roles(&["admin"]);
        assert_eq!(outcome(|_, _, _, now| admin(now)), FirstSight::Stale);
    }

    #[test]
    fn without_a_session_or_with_a_disabled_account_it_is_ended() {
        let (session, mut user) = held();
        let stated = Stated {
            session: &session.key,
            generation: Generation(5),
            version: None,
            roles: &roles(&["user"]),
        };
        assert_eq!(
            compare(stated, Some((&session, &user)), 0),
            FirstSight::Alive
        );
        assert_eq!(compare(stated, None, 0), FirstSight::Ended);
        user.status = UserStatus::Disabled;
        assert_eq!(
            compare(stated, Some((&session, &user)), 0),
            FirstSight::Ended
        );
    }
}
