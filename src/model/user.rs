//! An account.

use serde::{Deserialize, Serialize};

use crate::types::ids::{TenantId, UserId};
use crate::types::login::LoginName;
use crate::types::role::Roles;
use crate::types::time::Timestamp;

/// The key of a user: the scope of every read and write of the user's records.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UserKey {
    /// The tenant.
    pub tenant: TenantId,
    /// The user within it.
    pub user: UserId,
}

/// A version of an account: the number of its changes. An access token carries the version that its claims were
/// made from.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct AccountVersion(pub u32);

/// One account. At least one of `username`, `email`, `mobile` is present.
///
/// Not serializable by itself: the store owns the form on disk and its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Tenant and id.
    pub key: UserKey,
    /// Chosen name.
    pub username: Option<LoginName>,
    /// E-mail address.
    pub email: Option<LoginName>,
    /// Mobile number.
    pub mobile: Option<LoginName>,
    /// Which of the addresses are known to belong to the person.
    pub verified: VerifiedAddresses,
    /// The person's name, as it should be shown.
    pub name: Option<String>,
    /// Roles, first one first.
    pub roles: Roles,
    /// The password's Argon2id hash in PHC form, or an imported hash until the first log-in.
    pub password: PasswordHash,
    /// Whether the account may be used.
    pub status: UserStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts changes; an update names the version it was made from.
    pub version: u32,
}

impl User {
    /// The version of this account.
    pub const fn account_version(&self) -> AccountVersion {
        AccountVersion(self.version)
    }

    /// The logins this account can be found by.
    pub fn logins(&self) -> impl Iterator<Item = &LoginName> {
        [&self.username, &self.email, &self.mobile]
            .into_iter()
            .flatten()
    }

    /// The e-mail address, if it was verified or entered by an operator. Only this one may be passed
    /// on as an identity.
    pub fn verified_email(&self) -> Option<&LoginName> {
        self.email.as_ref().filter(|_| self.verified.email)
    }

    /// The mobile number, if it was verified or entered by an operator.
    pub fn verified_mobile(&self) -> Option<&LoginName> {
        self.mobile.as_ref().filter(|_| self.verified.mobile)
    }

    /// The value of the claim `username` and the header `X-User-Name`: the username, else the
    /// verified e-mail address, else the verified mobile number.
    pub fn handle(&self) -> &str {
        self.username
            .as_ref()
            .or_else(|| self.verified_email())
            .or_else(|| self.verified_mobile())
            .map_or("", LoginName::as_str)
    }
}

/// Which addresses of an account are known to belong to the person: confirmed by them, or entered by
/// an operator. An address that was only claimed at sign-up is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VerifiedAddresses {
    /// The e-mail address.
    pub email: bool,
    /// The mobile number.
    pub mobile: bool,
}

impl VerifiedAddresses {
    /// Both addresses are verified: an operator entered them.
    pub const ALL: Self = Self {
        email: true,
        mobile: true,
    };
    /// No address is verified: they were given at sign-up.
    pub const NONE: Self = Self {
        email: false,
        mobile: false,
    };
}

/// Whether an account may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserStatus {
    /// Log-in works.
    Enabled,
    /// Log-in is refused exactly like a wrong password.
    Disabled,
}

/// A password hash in PHC form, or an imported one: in both, salt and hash are the last two parts. It is not the password, but it must not be printed either.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Wraps a PHC string.
    pub fn new(phc: impl Into<String>) -> Self {
        Self(phc.into())
    }

    /// The PHC string.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The parameter set: the PHC string up to the salt. Names the algorithm and its cost and nothing
    /// of the password.
    pub fn cost(&self) -> HashCost {
        let mut parts = self.0.rsplitn(3, '$');
        let cost = (parts.next(), parts.next(), parts.next());
        match cost {
            (Some(_), Some(_), Some(cost)) => HashCost(cost.to_owned()),
            _ => HashCost(String::new()),
        }
    }
}

/// The parameter set of a password hash, such as `$argon2id$v=19$m=19456,t=2,p=1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HashCost(String);

impl HashCost {
    /// The text of the set.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether hashes of this kind are made here, and not only imported.
    fn is_ours(&self) -> bool {
        self.0.starts_with("$argon2id$")
    }
}

/// How many accounts use each parameter set, the oldest set first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HashCosts(Vec<(HashCost, u64)>);

impl HashCosts {
    /// The most sets that are counted separately; further ones are not counted.
    pub const MAX_SETS: usize = 32;

    /// One more account with this hash. The sets of imported hashes count as older than ours, because
    /// accounts move from them to ours.
    pub fn add(&mut self, cost: HashCost) {
        if let Some((_, count)) = self.0.iter_mut().find(|(known, _)| *known == cost) {
            *count = count.saturating_add(1);
        } else if self.has_room(&cost) {
            let at = if cost.is_ours() { self.0.len() } else { 0 };
            self.0.insert(at, (cost, 1));
        }
    }

    /// Whether one more account with this hash would be counted.
    pub fn counts(&self, cost: &HashCost) -> bool {
        self.0.iter().any(|(known, _)| known == cost) || self.has_room(cost)
    }

    /// A fourth of the sets is kept for hashes that this program makes.
    fn has_room(&self, cost: &HashCost) -> bool {
        let most = if cost.is_ours() {
            Self::MAX_SETS
        } else {
            Self::MAX_SETS - Self::MAX_SETS / 4
        };
        self.0.len() < most && (1..=MAX_COST).contains(&cost.0.len())
    }

    /// One account less with this hash.
    pub fn remove(&mut self, cost: &HashCost) {
        if let Some((_, count)) = self.0.iter_mut().find(|(known, _)| known == cost) {
            *count = count.saturating_sub(1);
        }
        self.0.retain(|(_, count)| *count > 0);
    }

    /// Picks a set, each as often as accounts use it, when `number` is evenly distributed. The order
    /// is fixed, so that a number moves to another set at most once while accounts move from an older
    /// set to a newer one. `None` while there is no account.
    pub fn pick(&self, number: u64) -> Option<&HashCost> {
        let all: u128 = self.0.iter().map(|(_, count)| u128::from(*count)).sum();
        // The newest set grows from below, as the older ones shrink.
        let mut at = (u128::from(number) * all) >> 64;
        self.0.iter().rev().find_map(|(cost, count)| {
            let count = u128::from(*count);
            if at < count {
                return Some(cost);
            }
            at -= count;
            None
        })
    }
}

/// The longest text of a set that is counted.
const MAX_COST: usize = 100;

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(cost: u32) -> PasswordHash {
        PasswordHash::new(format!("$argon2id$v=19$m={cost},t=2,p=1$c2FsdA$aGFzaA"))
    }

    #[test]
    fn the_parameter_set_is_the_hash_without_salt_and_digest() {
        assert_eq!(hash(64).cost().as_str(), "$argon2id$v=19$m=64,t=2,p=1");
        assert_eq!(PasswordHash::new("x").cost().as_str(), "");
    }

    #[test]
    fn parameter_sets_are_chosen_by_their_share_and_a_user_moves_once() {
        let mut costs = HashCosts::default();
        assert_eq!(costs.pick(7), None);
        for _ in 0..30 {
            costs.add(hash(1).cost());
        }
        for _ in 0..10 {
            costs.add(hash(2).cost());
        }
        let numbers: Vec<u64> = (0..4_000).map(|n| (u64::MAX / 4_000) * n).collect();
        let picked = |costs: &HashCosts| -> Vec<HashCost> {
            let pick = |n: &u64| costs.pick(*n).unwrap().clone();
            numbers.iter().map(pick).collect()
        };
        let mut before = picked(&costs);
        let old = before.iter().filter(|cost| **cost == hash(1).cost());
        assert!((2_990..=3_010).contains(&old.count()));
        for _ in 0..30 {
            costs.remove(&hash(1).cost());
            costs.add(hash(2).cost());
            let after = picked(&costs);
            for (was, is) in before.iter().zip(&after) {
                assert!(*was == hash(1).cost() || was == is, "back to an older set");
            }
            before = after;
        }
        assert!(before.iter().all(|cost| *cost == hash(2).cost()));
    }

    #[test]
    fn sets_of_imported_hashes_count_as_older_than_ours_and_leave_room_for_ours() {
        let bcrypt =
            |cost: u32| PasswordHash::new(format!("$bcrypt$c={cost}$c2FsdA$aGFzaA")).cost();
        let mut costs = HashCosts::default();
        costs.add(hash(1).cost());
        costs.add(bcrypt(10));
        let order: Vec<&str> = costs.0.iter().map(|(cost, _)| cost.as_str()).collect();
        assert_eq!(order, ["$bcrypt$c=10", "$argon2id$v=19$m=1,t=2,p=1"]);
        for n in 11..1_000 {
            costs.add(bcrypt(n));
        }
        assert_eq!(costs.0.len(), 24);
        assert!(costs.counts(&bcrypt(10)), "another account of a known set");
        assert!(!costs.counts(&bcrypt(1_001)));
        assert!(costs.counts(&hash(2).cost()));
    }

    #[test]
    fn the_number_of_sets_is_bounded() {
        let mut costs = HashCosts::default();
        for n in 0..1_000 {
            costs.add(hash(n).cost());
        }
        assert_eq!(costs.0.len(), HashCosts::MAX_SETS);
    }
}
