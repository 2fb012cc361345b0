//! Where are passwords hashed? On a few threads, since a hash takes long and needs much memory.
//!
//! Invariant: there are never more jobs at once than threads, and never more waiting jobs than [`QUEUE_LENGTH`]
//! of each class. No network can keep another one waiting ([`turns`]). A running job keeps its thread and
//! memory until it is done, also if its caller stops waiting. Memory is released after a few seconds without
//! work. Requests have the higher priority, because a hash takes as long as a thousand of them. The priority of
//! hashing is only slightly lower: other work on the same cores must not stop log-ins.

mod turns;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::crypto::password::Memory;
use crate::types::memory;

use self::turns::{Pushed, Turns};

pub use self::turns::{Class, Share};

/// The most jobs of one class that wait: about as many as can be done while a caller waits. A waiting job needs
/// little memory.
pub const QUEUE_LENGTH: usize = 512;

/// How long a thread keeps its memory without work. Allocating it again costs about a tenth of a hash; keeping
/// it costs 19 MiB per thread.
const IDLE: Duration = Duration::from_secs(3);

/// How much lower the priority is than that of the threads that serve requests (nice(2)). Where both
/// want a whole core, hashing still gets a quarter of it. `scripts/bench-niceness` measures both sides.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 5;

/// One job. It receives the thread's memory, and delivers its result itself. A job whose caller has stopped
/// waiting should return at once. When the pool ends, waiting jobs are dropped without being run.
pub type Job = Box<dyn FnOnce(&mut Memory) + Send>;

/// The threads and their queue. When the pool is dropped, each thread ends after its current job.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
}

impl Pool {
    /// Starts this number of threads, at least one.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        let pool = Self {
            shared: Arc::new(Shared::default()),
        };
        for number in 0..threads.max(1) {
            let shared = Arc::clone(&pool.shared);
            std::thread::Builder::new()
                .name(format!("password-{number}"))
                .spawn(move || work(&shared))?;
        }
        Ok(pool)
    }

    /// Adds a job to the queue. If the queue is full, another job is dropped to make room for it, or this one
    /// is refused.
    pub fn submit(&self, share: Share, job: Job) -> Result<(), Full> {
        let pushed = self.shared.lock().jobs.push(share, job);
        match pushed {
            Pushed::Whole => {
                self.shared.wake.notify_one();
                Ok(())
            }
            Pushed::Instead(lost) => {
                drop(lost);
                Ok(())
            }
            Pushed::Refused(_) => Err(Full),
        }
    }

    /// The number of waiting jobs.
    pub fn waiting(&self) -> usize {
        self.shared.lock().jobs.len()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let waiting = {
            let mut state = self.shared.lock();
            state.is_closed = true;
            std::mem::replace(&mut state.jobs, Turns::new(QUEUE_LENGTH))
        };
        drop(waiting);
        self.shared.wake.notify_all();
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

struct State {
    jobs: Turns<Job>,
    is_closed: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            jobs: Turns::new(QUEUE_LENGTH),
            is_closed: false,
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The next job; none when there was no job for [`IDLE`], or at the end of the pool.
    fn next(&self) -> Next {
        let idle = |state: &mut State| state.jobs.is_empty() && !state.is_closed;
        let mut state = self.lock();
        self.wake.wait_while_for(&mut state, idle, IDLE);
        match state.jobs.pop() {
            Some(job) => Next::Job(job),
            None if state.is_closed => Next::End,
            None => Next::Idle,
        }
    }
}

enum Next {
    Job(Job),
    Idle,
    End,
}

/// Lowers the priority of this thread.
fn yield_to_requests() {
    // On Linux this concerns the calling thread only, elsewhere the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::warn!(%error, "password hashing runs at the priority of requests");
    }
}

fn work(shared: &Shared) {
    yield_to_requests();
    let mut memory = Memory::default();
    let mut is_released = true;
    loop {
        match shared.next() {
            // A panic must not end the thread, which later jobs need. The caller is notified because the job's
            // reply channel is dropped.
            Next::Job(job) => {
                is_released = false;
                if catch_unwind(AssertUnwindSafe(|| job(&mut memory))).is_err() {
                    memory.release();
                }
            }
            Next::Idle if memory.held_bytes() > 0 => memory.release(),
            Next::Idle if !is_released => {
                is_released = true;
                memory::settle();
            }
            Next::Idle => {}
            Next::End => return,
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// The queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many password hashes are waiting")]
pub struct Full;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(15);

    /// A pool of one thread, which works until the sender is used or dropped.
    fn occupied() -> (Pool, mpsc::Sender<()>) {
        let pool = Pool::start(1).unwrap();
        let (started, has_started) = mpsc::channel();
        let (go, wait) = mpsc::channel();
        pool.submit(
            Share::OPERATOR,
            Box::new(move |_| {
                started.send(()).unwrap();
                let _ = wait.recv();
            }),
        )
        .unwrap();
        has_started.recv_timeout(LONG).unwrap();
        (pool, go)
    }

    /// The niceness of the calling thread (proc(5), field 19).
    #[cfg(target_os = "linux")]
    fn niceness() -> i32 {
        let text = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, behind_the_name) = text.rsplit_once(") ").unwrap();
        let field = behind_the_name.split(' ').nth(16).unwrap();
        field.parse().unwrap()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn hashing_has_a_lower_priority_than_its_caller() {
        let before = niceness();
        let pool = Pool::start(1).unwrap();
        let (sender, found) = mpsc::channel();
        pool.submit(
            Share::OPERATOR,
            Box::new(move |_| sender.send(niceness()).unwrap()),
        )
        .unwrap();
        let lowest = 19;
        let nicer = (before + NICENESS).min(lowest);
        assert_eq!(found.recv_timeout(LONG).unwrap(), nicer);
        assert_eq!(niceness(), before, "one thread, not the process");
    }

    #[test]
    fn s36_the_queue_is_bounded_and_the_work_is_done_in_order() {
        let (pool, go) = occupied();
        let (done, is_done) = mpsc::channel();
        for number in 0..QUEUE_LENGTH {
            let done = done.clone();
            pool.submit(
                Share::OPERATOR,
                Box::new(move |_| done.send(number).unwrap()),
            )
            .unwrap();
        }
        assert_eq!(pool.submit(Share::OPERATOR, Box::new(|_| ())), Err(Full));
        assert_eq!(pool.waiting(), QUEUE_LENGTH);
        go.send(()).unwrap();
        let order: Vec<_> = (0..QUEUE_LENGTH)
            .map(|_| is_done.recv_timeout(LONG).unwrap())
            .collect();
        assert!(order.is_sorted());
    }

    #[test]
    fn a_flood_from_one_network_does_not_delay_others() {
        // A bug: 720 log-ins a second from one /48 left others without an answer.
        let (pool, go) = occupied();
        let from = |address: String| Share::new(address.parse().ok(), Class::Unproven);
        let (done, is_done) = mpsc::channel();
        let submit = |share: Share, name: String| {
            let done = done.clone();
            pool.submit(share, Box::new(move |_| done.send(name).unwrap()))
        };
        for n in 0..4 * QUEUE_LENGTH {
            let flood = from(format!("2001:db8:1:{n:x}::1"));
            let _full_in_the_end = submit(flood, "flood".to_owned());
        }
        assert_eq!(pool.waiting(), QUEUE_LENGTH);
        for n in 0..10 {
            let honest = from(format!("2001:db8:{:x}::1", n + 2));
            assert_eq!(submit(honest, format!("honest {n}")), Ok(()));
        }
        go.send(()).unwrap();
        // Each of the eleven networks has one turn before any of them has a second one.
        let mut first: Vec<String> = (0..11)
            .map(|_| is_done.recv_timeout(LONG).unwrap())
            .collect();
        first.sort();
        let honest = (0..10).map(|n| format!("honest {n}"));
        let expected: Vec<_> = std::iter::once("flood".to_owned()).chain(honest).collect();
        assert_eq!(first, expected);
    }

    #[test]
    fn a_panic_loses_one_job_and_no_thread() {
        let pool = Pool::start(1).unwrap();
        pool.submit(Share::OPERATOR, Box::new(|_| panic!("a job that fails")))
            .unwrap();
        let (done, is_done) = mpsc::channel();
        pool.submit(Share::OPERATOR, Box::new(move |_| done.send(()).unwrap()))
            .unwrap();
        assert_eq!(is_done.recv_timeout(LONG), Ok(()));
    }

    #[test]
    fn jobs_waiting_at_shutdown_are_dropped_with_an_error() {
        let (pool, go) = occupied();
        let (reply, answer) = mpsc::channel::<()>();
        pool.submit(Share::OPERATOR, Box::new(move |_| reply.send(()).unwrap()))
            .unwrap();
        drop(pool);
        assert_eq!(
            answer.recv_timeout(LONG),
            Err(mpsc::RecvTimeoutError::Disconnected)
        );
        drop(go);
    }
}
