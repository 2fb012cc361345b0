//! Shares of something that has a fixed number of places, so that no client can take them all.
//!
//! What a group of clients may hold depends on what is free (a dynamic threshold): twice the square of
//! what is free over all. One group alone may have half of the places; what each may have shrinks as
//! others come, and the last places, the root of half of all, go to one group each. Wider groups may hold
//! more.
//!
//! An address belongs to a group of its own (IPv6: its /64, which one subscriber owns); an IPv6 address
//! also to that of its /56 and its /48, since one may own those. A user is a group wherever the requests
//! come from, and all requests without a user are one together.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::types::ids::UserId;

/// Who asks for a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimant {
    /// The client's address; none when it speaks for many clients.
    pub address: Option<IpAddr>,
    /// The user, where users are asked for.
    pub user: User,
}

/// On whose behalf a place is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// A user.
    Known(UserId),
    /// Nobody in particular.
    Unknown,
    /// Users do not matter here.
    NotAsked,
}

/// A group that a claimant belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// An IPv4 address, or an IPv6 network of so many bits.
    Network(u8, u128),
    /// A user.
    User(UserId),
    /// Everybody without a user.
    Anonymous,
}

/// The groups that one claimant belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Groups([Option<Group>; MOST]);

/// With fewer places than this one group may have two for each that is free.
const FEW: usize = 8;

/// Three networks, and a user or none.
const MOST: usize = 4;

impl Claimant {
    /// The groups it belongs to.
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
    /// Whether nobody knows a user.
    pub fn is_anonymous(&self) -> bool {
        self.iter().any(|group| group == Group::Anonymous)
    }

    /// The network of one subscriber.
    pub fn narrowest(&self) -> Option<Group> {
        let Self([subscriber, ..]) = *self;
        subscriber
    }

    /// The widest network, or else whatever there is: those who compete as one.
    pub fn widest(&self) -> Option<Group> {
        let Self([subscriber, site, provider, user]) = *self;
        provider.or(site).or(subscriber).or(user)
    }

    fn iter(&self) -> impl Iterator<Item = Group> {
        self.0.into_iter().flatten()
    }
}

impl Group {
    /// How much the group may hold: half of all when it is alone, for a site somewhat more, and all
    /// strangers together seven tenths.
    const fn weight(self) -> usize {
        match self {
            Self::Network(64.., _) | Self::User(_) => 2,
            Self::Network(56..64, _) => 3,
            Self::Network(..56, _) => 4,
            Self::Anonymous => 8,
        }
    }

    /// How many places the group may hold while so many of all are free.
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

/// How many places each group holds.
#[derive(Debug, Default)]
pub struct Ledger(HashMap<Group, usize>);

impl Ledger {
    /// The first group that has its share while `free` places of `all` are free; none when one more may
    /// be taken. Nobody may take what is not there.
    pub fn full(&self, groups: &Groups, free: usize, all: usize) -> Option<Group> {
        let is_full = |group: &Group| self.held(*group) >= group.share(free, all);
        groups.iter().find(is_full)
    }

    /// Takes a place.
    pub fn take(&mut self, groups: &Groups) {
        for group in groups.iter() {
            *self.0.entry(group).or_default() += 1;
        }
    }

    /// Gives a place back that these groups took.
    pub fn give(&mut self, groups: &Groups) {
        for group in groups.iter() {
            if let Some(held) = self.0.get_mut(&group) {
                *held -= 1;
                if *held == 0 {
                    self.0.remove(&group);
                }
            }
        }
    }

    /// How many places a group holds.
    pub fn held(&self, group: Group) -> usize {
        self.0.get(&group).copied().unwrap_or_default()
    }

    /// Whether nobody holds anything.
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

    /// Places, as many as these, that are taken greedily.
    struct Places {
        ledger: Ledger,
        all: usize,
        used: usize,
    }

    impl Places {
        fn new(all: usize) -> Self {
            Self {
                ledger: Ledger::default(),
                all,
                used: 0,
            }
        }

        fn may(&self, groups: &Groups) -> bool {
            let free = self.all - self.used;
            self.ledger.full(groups, free, self.all).is_none()
        }

        /// Takes as many as it may; says how many.
        fn grab(&mut self, groups: &Groups) -> usize {
            let before = self.used;
            while self.may(groups) {
                self.ledger.take(groups);
                self.used += 1;
            }
            self.used - before
        }
    }

    #[test]
    fn one_group_alone_leaves_half_and_what_comes_back_can_be_taken_again() {
        let mut places = Places::new(900);
        let greedy = at("192.0.2.1", user(1));
        for _ in 0..2 {
            assert_eq!(places.grab(&greedy), 450);
            for _ in 0..places.used {
                places.ledger.give(&greedy);
            }
            places.used = 0;
            assert!(places.ledger.is_empty());
        }
    }

    #[test]
    fn a_small_number_of_places_is_of_use_to_one_client_alone() {
        for (all, alone) in [(1, 1), (2, 2), (3, 2), (4, 3), (7, 5), (8, 4)] {
            let one = at("192.0.2.1", User::NotAsked);
            assert_eq!(Places::new(all).grab(&one), alone, "{all}");
        }
    }

    #[test]
    fn whatever_networks_a_site_has_it_leaves_room_for_others() {
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
    fn a_user_has_one_share_from_wherever_and_strangers_have_one_together() {
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
    fn a_site_that_has_its_share_does_not_use_up_that_of_all_strangers() {
        let mut places = Places::new(32);
        for n in 0..50 {
            places.grab(&at(&format!("2001:db8:1:{n:02x}00::1"), User::Unknown));
        }
        assert!(places.may(&at("2001:db8:2::1", User::Unknown)));
    }

    #[test]
    fn an_ipv4_address_is_the_same_however_it_is_written() {
        let plain = at("192.0.2.1", User::NotAsked);
        assert_eq!(plain, at("::ffff:192.0.2.1", User::NotAsked));
        assert_ne!(plain, at("192.0.2.2", User::NotAsked));
    }

    proptest! {
        #[test]
        fn twenty_greedy_clients_leave_a_newcomer_a_place_in_whatever_order_they_come(
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
