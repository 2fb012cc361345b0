//! How many of a fixed number of permits may one client hold, so that no client can take them all?
//!
//! The share of a group of clients depends on the number of free permits (a dynamic threshold): with `f` of `n`
//! permits free, a group may hold `2 f² / n`. One group alone may hold half of the permits. The shares shrink
//! as more groups hold some, and each of the last `√(n / 2)` permits goes to a different group. Wider groups
//! may hold more.
//!
//! Each address is a group; for IPv6 its /64, which belongs to one subscriber. An IPv6 address also belongs to
//! the groups of its /56 and its /48, which one site or provider may own. A user is a group, whatever the
//! addresses of the requests, and all requests without a user are one group together.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::types::ids::UserId;

/// The client and the user for whom a permit is requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimant {
    /// The client's address; `None` if it is shared by many clients.
    pub address: Option<IpAddr>,
    /// The user, where users have shares.
    pub user: User,
}

/// The user for whom a permit is requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// A user.
    Known(UserId),
    /// A client without a session.
    Unknown,
    /// Users have no shares here.
    NotAsked,
}

/// A group that a claimant belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// An IPv4 address, or an IPv6 network with the length of its prefix.
    Network(u8, u128),
    /// A user.
    User(UserId),
    /// All clients without a session.
    Anonymous,
}

/// The groups that one claimant belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Groups([Option<Group>; MOST]);

/// With fewer permits than this, a group may hold two for each free one.
const FEW: usize = 8;

/// Three networks and a user.
const MOST: usize = 4;

impl Claimant {
    /// The groups of this claimant.
    pub fn groups(&self) -> Groups {
        let [subscriber, site, provider] = self.address.map_or([None; 3], networks);
        let user = match self.user {
            User::Known(user) => Some(Group::User(user)),
            User::Unknown => Some(Group::Anonymous),
            User::NotAsked => None,
        };
        Groups([subscriber, site, provider, user])
    }
}

impl Groups {
    /// Whether it has no session.
    pub fn is_anonymous(&self) -> bool {
        self.iter().any(|group| group == Group::Anonymous)
    }

    /// The network of one subscriber.
    pub fn narrowest(&self) -> Option<Group> {
        let Self([subscriber, ..]) = *self;
        subscriber
    }

    /// The widest network, or the only group there is. Its members share one queue.
    pub fn widest(&self) -> Option<Group> {
        let Self([subscriber, site, provider, user]) = *self;
        provider.or(site).or(subscriber).or(user)
    }

    fn iter(&self) -> impl Iterator<Item = Group> {
        self.0.into_iter().flatten()
    }
}

impl Group {
    /// The factor of the share. A group alone may hold half of all permits, a site somewhat more, and all
    /// anonymous clients together seven tenths.
    const fn weight(self) -> usize {
        match self {
            Self::Network(64.., _) | Self::User(_) => 2,
            Self::Network(56..64, _) => 3,
            Self::Network(..56, _) => 4,
            Self::Anonymous => 8,
        }
    }

    /// How many permits the group may hold while `free` of `all` are free.
    fn share(self, free: usize, all: usize) -> usize {
        let share = if all < FEW {
            free.saturating_mul(2)
        } else {
            self.weight().saturating_mul(free).saturating_mul(free) / all
        };
        share.max(free.min(1))
    }
}

fn networks(address: IpAddr) -> [Option<Group>; 3] {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let all = Group::Network(128, u128::from(v4.to_bits()));
            [Some(all), None, None]
        }
        IpAddr::V6(v6) => [64_u8, 56, 48].map(|bits| {
            let network = v6.to_bits() >> (128 - bits);
            Some(Group::Network(bits, network))
        }),
    }
}

/// The number of permits that each group holds.
#[derive(Debug, Default)]
pub struct Usage(HashMap<Group, usize>);

impl Usage {
    /// The first group that holds its full share while `free` permits of `all` are free; `None` if each may hold
    /// one more. If no permit is free, every share is zero.
    pub fn exhausted(&self, groups: &Groups, free: usize, all: usize) -> Option<Group> {
        let is_full = |group: &Group| self.of(*group) >= group.share(free, all);
        groups.iter().find(is_full)
    }

    /// Adds a permit to each of these groups.
    pub fn acquire(&mut self, groups: &Groups) {
        for group in groups.iter() {
            *self.0.entry(group).or_default() += 1;
        }
    }

    /// Removes a permit from each of these groups.
    pub fn release(&mut self, groups: &Groups) {
        for group in groups.iter() {
            if let Some(held) = self.0.get_mut(&group) {
                *held -= 1;
                if *held == 0 {
                    self.0.remove(&group);
                }
            }
        }
    }

    /// The number of permits that a group holds.
    pub fn of(&self, group: Group) -> usize {
        self.0.get(&group).copied().unwrap_or_default()
    }

    /// Whether no group holds a permit.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(address: &str, user: User) -> Groups {
        let address = Some(address.parse().unwrap());
        Claimant { address, user }.groups()
    }

    fn user(n: u8) -> User {
        User::Known(UserId::from_bytes([n; 16]))
    }

    /// A number of permits that clients acquire greedily.
    struct Places {
        usage: Usage,
        all: usize,
        used: usize,
    }

    impl Places {
        fn new(all: usize) -> Self {
            Self {
                usage: Usage::default(),
                all,
                used: 0,
            }
        }

        fn may(&self, groups: &Groups) -> bool {
            let free = self.all - self.used;
            self.usage.exhausted(groups, free, self.all).is_none()
        }

        /// Acquires as many as permitted. Returns their number.
        fn grab(&mut self, groups: &Groups) -> usize {
            let before = self.used;
            while self.may(groups) {
                self.usage.acquire(groups);
                self.used += 1;
            }
            self.used - before
        }
    }

    #[test]
    fn one_group_alone_leaves_half_and_freed_slots_can_be_taken_again() {
        let mut places = Places::new(900);
        let greedy = at("192.0.2.1", user(1));
        for _ in 0..2 {
            assert_eq!(places.grab(&greedy), 450);
            for _ in 0..places.used {
                places.usage.release(&greedy);
            }
            places.used = 0;
            assert!(places.usage.is_empty());
        }
    }

    #[test]
    fn a_small_number_of_slots_can_be_used_by_one_client() {
        for (all, alone) in [(1, 1), (2, 2), (3, 2), (4, 3), (7, 5), (8, 4)] {
            let one = at("192.0.2.1", User::NotAsked);
            assert_eq!(Places::new(all).grab(&one), alone, "{all}");
        }
    }

    #[test]
    fn a_site_with_any_number_of_networks_leaves_slots_for_others() {
        for (bits, share) in [(64, 600), (56, 680), (48, 735)] {
            let mut places = Places::new(1_200);
            for n in 0..=255_u8 {
                let host = match bits {
                    64 => format!("2001:db8:1:2::{n:x}"),
                    56 => format!("2001:db8:1:2{n:02x}::1"),
                    _ => format!("2001:db8:1:{n:02x}00::1"),
                };
                places.grab(&at(&host, user(n)));
            }
            let used = places.used;
            assert!(used <= share && used > share - 10, "/{bits}: {used}");
            assert!(places.may(&at("2001:db8:2::1", user(7))));
        }
    }

    #[test]
    fn a_user_has_one_share_from_all_addresses_and_anonymous_clients_have_one_together() {
        for (who, share) in [(user(1), 600), (User::Unknown, 845)] {
            let mut places = Places::new(1_200);
            for n in 0..250 {
                places.grab(&at(&format!("192.0.2.{n}"), who));
            }
            let used = places.used;
            assert!(used <= share && used > share - 10, "{who:?}: {used}");
            assert!(places.may(&at("198.51.100.1", user(2))), "{who:?}");
        }
    }

    #[test]
    fn a_site_at_its_share_leaves_the_anonymous_share_to_others() {
        let mut places = Places::new(32);
        for n in 0..50 {
            places.grab(&at(&format!("2001:db8:1:{n:02x}00::1"), User::Unknown));
        }
        assert!(places.may(&at("2001:db8:2::1", User::Unknown)));
    }

    #[test]
    fn an_ipv4_address_is_the_same_in_every_notation() {
        let plain = at("192.0.2.1", User::NotAsked);
        assert_eq!(plain, at("::ffff:192.0.2.1", User::NotAsked));
        assert_ne!(plain, at("192.0.2.2", User::NotAsked));
    }

    proptest! {
        #[test]
        fn twenty_greedy_clients_leave_a_slot_for_a_new_one_in_any_order(
            greedy in proptest::collection::vec((0_u8..20, 1_u8..20), 1..400),
        ) {
            let mut places = Places::new(400);
            for (address, number) in greedy {
                places.grab(&at(&format!("192.0.2.{address}"), user(number)));
            }
            prop_assert!(places.may(&at("198.51.100.1", user(99))));
        }
    }
}
