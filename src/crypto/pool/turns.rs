//! Which job is next? A bounded queue that no network can fill for the others.
//!
//! Jobs wait by the networks that they come from, in three levels, and each level is served in rotation:
//! networks, the smaller networks in them, the clients in those, and the jobs of one client in order. When the
//! queue is full, the job that came last from the network with the most jobs makes room for a job of a network
//! with fewer. Callers who have proved something (a known device, a session, the password itself) have a queue
//! of their own, which gets three turns of four.

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::types::net::Networks;

/// The origin of a job: the client's networks and its class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    from: Option<Networks>,
    class: Class,
}

/// The class of a caller.
///
/// Whether an account exists must not be a class: the time of an answer would reveal it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The caller has proved a device or a session of the account, or is the operator.
    Proven,
    /// The caller has proved nothing yet.
    Unproven,
}

impl Share {
    /// The share of a client. All clients without a known address are one.
    pub fn new(address: Option<IpAddr>, class: Class) -> Self {
        Self {
            from: address.map(Networks::of),
            class,
        }
    }

    /// The share of the operator.
    pub const OPERATOR: Self = Self {
        from: None,
        class: Class::Proven,
    };

    fn path(&self) -> [Option<IpAddr>; Networks::LEVELS] {
        std::array::from_fn(|level| self.from.map(|networks| networks.level(level)))
    }
}

/// The queue.
#[derive(Debug)]
pub(super) struct Turns<T> {
    proven: Branch<T>,
    unproven: Branch<T>,
    /// Turns that proven callers had since the others had one.
    in_a_row: u32,
    limit: usize,
}

/// How many turns proven callers get for each turn of the others.
const IN_A_ROW: u32 = 3;

impl<T> Turns<T> {
    /// An empty queue for this number of jobs of each class.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            proven: Branch::new(),
            unproven: Branch::new(),
            in_a_row: 0,
            limit,
        }
    }

    /// Adds a job to the queue. If the queue is full, returns the job for which there is no space: another one,
    /// or this one.
    pub(super) fn push(&mut self, share: Share, job: T) -> Pushed<T> {
        let limit = self.limit;
        let class = match share.class {
            Class::Proven => &mut self.proven,
            Class::Unproven => &mut self.unproven,
        };
        let path = share.path();
        if class.count < limit {
            class.push(&path, job);
            return Pushed::Whole;
        }
        if class.makes_room_for(&path) {
            let dropped = class.drop_last_of_most();
            class.push(&path, job);
            return dropped.map_or(Pushed::Whole, Pushed::Instead);
        }
        Pushed::Refused(job)
    }

    /// The next job.
    pub(super) fn pop(&mut self) -> Option<T> {
        let others_turn = self.in_a_row >= IN_A_ROW && self.unproven.count > 0;
        if self.proven.count > 0 && !others_turn {
            self.in_a_row = self.in_a_row.saturating_add(1);
            self.proven.pop()
        } else {
            self.in_a_row = 0;
            self.unproven.pop()
        }
    }

    /// How many jobs wait.
    pub(super) fn len(&self) -> usize {
        self.proven.count + self.unproven.count
    }

    /// Whether no job waits.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The result of a push.
#[derive(Debug)]
pub(super) enum Pushed<T> {
    /// The job waits.
    Whole,
    /// The job waits, and this other one was removed.
    Instead(T),
    /// The queue has no space for the job.
    Refused(T),
}

/// One level of the rotation: branches by network, or at the last level the jobs themselves.
#[derive(Debug)]
struct Branch<T> {
    /// In the order of their next turn.
    branches: VecDeque<(Option<IpAddr>, Branch<T>)>,
    jobs: VecDeque<T>,
    count: usize,
}

impl<T> Branch<T> {
    fn new() -> Self {
        Self {
            branches: VecDeque::new(),
            jobs: VecDeque::new(),
            count: 0,
        }
    }

    fn push(&mut self, path: &[Option<IpAddr>], job: T) {
        self.count += 1;
        let Some((network, rest)) = path.split_first() else {
            self.jobs.push_back(job);
            return;
        };
        if let Some((_, branch)) = self.branches.iter_mut().find(|(of, _)| of == network) {
            branch.push(rest, job);
            return;
        }
        let mut branch = Self::new();
        branch.push(rest, job);
        self.branches.push_back((*network, branch));
    }

    /// The next job; its network moves to the end of the queue.
    fn pop(&mut self) -> Option<T> {
        let job = match self.branches.pop_front() {
            None => self.jobs.pop_front(),
            Some((network, mut branch)) => {
                let job = branch.pop();
                if branch.count > 0 {
                    self.branches.push_back((network, branch));
                }
                job
            }
        };
        self.count -= usize::from(job.is_some());
        job
    }

    /// Whether a job of this path may replace the last job of the network with the most jobs: at the first
    /// level where the two are in different networks, that network has more jobs than the network of this job
    /// would have.
    fn makes_room_for(&self, path: &[Option<IpAddr>]) -> bool {
        let Some((network, rest)) = path.split_first() else {
            return false;
        };
        let Some((most, largest)) = self.branches.iter().max_by_key(|(_, b)| b.count) else {
            return false;
        };
        if most == network {
            return largest.makes_room_for(rest);
        }
        let own = self.branches.iter().find(|(of, _)| of == network);
        own.map_or(0, |(_, branch)| branch.count) + 1 < largest.count
    }

    fn drop_last_of_most(&mut self) -> Option<T> {
        let largest = self.branches.iter_mut().enumerate();
        let largest = largest.max_by_key(|(_, (_, branch))| branch.count);
        let job = match largest {
            None => self.jobs.pop_back(),
            Some((at, (_, branch))) => {
                let job = branch.drop_last_of_most();
                if branch.count == 0 {
                    self.branches.remove(at);
                }
                job
            }
        };
        self.count -= usize::from(job.is_some());
        job
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn share(address: &str, class: Class) -> Share {
        Share::new(Some(address.parse().unwrap()), class)
    }

    fn unproven(address: &str) -> Share {
        share(address, Class::Unproven)
    }

    #[test]
    fn networks_and_the_clients_in_them_are_served_in_rotation() {
        let mut turns = Turns::new(100);
        for n in 0..4 {
            turns.push(
                unproven(&format!("2001:db8:1:{n}::1")),
                format!("crowd {n}"),
            );
        }
        turns.push(unproven("2001:db8:1:3::2"), "crowd 3 again".to_owned());
        turns.push(unproven("192.0.2.1"), "ann".to_owned());
        turns.push(unproven("192.0.2.9"), "bob".to_owned());
        let order: Vec<_> = std::iter::from_fn(|| turns.pop()).collect();
        assert_eq!(
            order,
            [
                "crowd 0",
                "ann",
                "crowd 1",
                "bob",
                "crowd 2",
                "crowd 3",
                "crowd 3 again"
            ]
        );
        assert!(turns.is_empty());
    }

    #[test]
    fn a_full_queue_drops_a_job_of_the_network_with_most() {
        let mut turns = Turns::new(4);
        for n in 0..4 {
            let pushed = turns.push(unproven(&format!("2001:db8:1:{n}::1")), n);
            assert!(matches!(pushed, Pushed::Whole));
        }
        assert!(matches!(
            turns.push(unproven("2001:db8:1:9::1"), 9),
            Pushed::Refused(9)
        ));
        assert!(matches!(
            turns.push(unproven("192.0.2.1"), 10),
            Pushed::Instead(_)
        ));
        assert!(matches!(
            turns.push(unproven("192.0.2.2"), 11),
            Pushed::Instead(_)
        ));
        assert!(matches!(
            turns.push(unproven("192.0.2.3"), 12),
            Pushed::Refused(12)
        ));
        assert_eq!(turns.len(), 4);
    }

    #[test]
    fn verified_callers_get_three_of_four_jobs_and_reserved_slots() {
        let mut turns = Turns::new(8);
        for _ in 0..8 {
            turns.push(unproven("192.0.2.1"), 'u');
        }
        for _ in 0..8 {
            let pushed = turns.push(share("192.0.2.1", Class::Proven), 'p');
            assert!(matches!(pushed, Pushed::Whole));
        }
        let order: String = std::iter::from_fn(|| turns.pop()).collect();
        assert_eq!(order, "pppupppuppuuuuuu");
    }

    proptest! {
        #[test]
        fn a_pushed_job_is_popped_once_or_returned(
            steps in prop::collection::vec((0_u8..4, 0_u8..4, any::<bool>(), any::<bool>()), 0..200),
        ) {
            let mut turns = Turns::new(16);
            let (mut inside, mut number) = (std::collections::BTreeSet::new(), 0);
            for (net, host, proven, push) in steps {
                if push {
                    let class = if proven { Class::Proven } else { Class::Unproven };
                    let address = format!("2001:db8:{net}:{host}::1");
                    match turns.push(share(&address, class), number) {
                        Pushed::Whole => prop_assert!(inside.insert(number)),
                        Pushed::Instead(other) => {
                            prop_assert!(inside.remove(&other));
                            prop_assert!(inside.insert(number));
                        }
                        Pushed::Refused(same) => prop_assert_eq!(same, number),
                    }
                    number += 1;
                } else if let Some(job) = turns.pop() {
                    prop_assert!(inside.remove(&job));
                }
                prop_assert_eq!(turns.len(), inside.len());
                prop_assert!(turns.proven.count <= 16 && turns.unproven.count <= 16);
            }
            while let Some(job) = turns.pop() {
                prop_assert!(inside.remove(&job));
            }
            prop_assert!(inside.is_empty());
        }
    }
}
