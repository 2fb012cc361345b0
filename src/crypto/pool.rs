//! A few threads for work that takes long and much memory: password hashing.
//!
//! What always holds: never more jobs at once than threads, never more waiting than
//! [`QUEUE_LENGTH`]. A thread, and with it the memory, belongs to the work: whoever asked may have
//! gone away, the next job still waits until this one is done. Memory is given back after a few seconds
//! without work. Requests go first: a hash takes as long as a thousand of them, so where the
//! cores are short it is the hash that waits.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::crypto::password::Memory;

/// The most jobs that wait.
pub const QUEUE_LENGTH: usize = 64;

/// How long a thread keeps its memory without work. Asking the system for it anew costs about a tenth of a
/// hash, which a few seconds of silence outweigh; keeping it costs 19 MiB a thread.
const IDLE: Duration = Duration::from_secs(5);

/// How much lower the priority is than that of the threads that serve requests (nice(2)). Where both
/// want a whole core, hashing still gets about a thirtieth of it.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 15;

/// One piece of work. It is given the thread's memory and reports by whatever it holds. A job that
/// finds nobody waiting any more should return at once. When the pool ends, jobs that still wait
/// are dropped without being run.
pub type Job = Box<dyn FnOnce(&mut Memory) + Send>;

/// The threads and their queue. Dropping it ends the threads after the job at hand.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
}

impl Pool {
    /// Starts so many threads; at least one.
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

    /// Puts a job into the queue, or refuses it when the queue is full.
    pub fn submit(&self, job: Job) -> Result<(), Full> {
        let mut state = self.shared.lock();
        if state.jobs.len() >= QUEUE_LENGTH {
            return Err(Full);
        }
        state.jobs.push_back(job);
        drop(state);
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Jobs that wait.
    pub fn waiting(&self) -> usize {
        self.shared.lock().jobs.len()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let waiting = {
            let mut state = self.shared.lock();
            state.is_closed = true;
            std::mem::take(&mut state.jobs)
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

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    is_closed: bool,
}

impl Shared {
    /// A job runs outside the lock, so a poisoned lock still guards a sound queue.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job, or none after a silence or at the end.
    fn next(&self) -> Next {
        let idle = |state: &mut State| state.jobs.is_empty() && !state.is_closed;
        let (mut state, _) = self
            .wake
            .wait_timeout_while(self.lock(), IDLE, idle)
            .unwrap_or_else(PoisonError::into_inner);
        match state.jobs.pop_front() {
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
    loop {
        match shared.next() {
            // A panic would take the thread away from everybody who comes later. The asker learns
            // of it because the job's reply is dropped.
            Next::Job(job) => {
                if catch_unwind(AssertUnwindSafe(|| job(&mut memory))).is_err() {
                    memory.release();
                }
            }
            Next::Idle => memory.release(),
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
#[error("too much password work is waiting")]
pub struct Full;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

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
    fn hashing_is_nicer_than_whoever_asks_for_it() {
        let before = niceness();
        let pool = Pool::start(1).unwrap();
        let (says, said) = mpsc::channel();
        pool.submit(Box::new(move |_| says.send(niceness()).unwrap()))
            .unwrap();
        let lowest = 19;
        let nicer = (before + NICENESS).min(lowest);
        assert_eq!(said.recv_timeout(LONG).unwrap(), nicer);
        assert_eq!(niceness(), before, "one thread, not the process");
    }

    #[test]
    fn s36_the_queue_is_bounded_and_the_work_is_done_in_order() {
        let pool = Pool::start(1).unwrap();
        let (started, has_started) = mpsc::channel();
        let (go, wait) = mpsc::channel::<()>();
        pool.submit(Box::new(move |_| {
            started.send(()).unwrap();
            let _ = wait.recv();
        }))
        .unwrap();
        has_started.recv_timeout(LONG).unwrap();
        let (done, is_done) = mpsc::channel();
        for number in 0..QUEUE_LENGTH {
            let done = done.clone();
            pool.submit(Box::new(move |_| done.send(number).unwrap()))
                .unwrap();
        }
        assert_eq!(pool.submit(Box::new(|_| ())), Err(Full));
        assert_eq!(pool.waiting(), QUEUE_LENGTH);
        go.send(()).unwrap();
        let order: Vec<_> = (0..QUEUE_LENGTH)
            .map(|_| is_done.recv_timeout(LONG).unwrap())
            .collect();
        assert!(order.is_sorted());
    }

    #[test]
    fn a_panic_costs_one_job_and_no_thread() {
        let pool = Pool::start(1).unwrap();
        pool.submit(Box::new(|_| panic!("a job that fails")))
            .unwrap();
        let (done, is_done) = mpsc::channel();
        pool.submit(Box::new(move |_| done.send(()).unwrap()))
            .unwrap();
        assert_eq!(is_done.recv_timeout(LONG), Ok(()));
    }

    #[test]
    fn what_still_waits_at_the_end_is_dropped_and_its_asker_learns_of_it() {
        let pool = Pool::start(1).unwrap();
        let (go, wait) = mpsc::channel::<()>();
        let (started, has_started) = mpsc::channel();
        pool.submit(Box::new(move |_| {
            started.send(()).unwrap();
            let _ = wait.recv();
        }))
        .unwrap();
        has_started.recv_timeout(LONG).unwrap();
        let (reply, answer) = mpsc::channel::<()>();
        pool.submit(Box::new(move |_| reply.send(()).unwrap()))
            .unwrap();
        drop(pool);
        assert_eq!(
            answer.recv_timeout(LONG),
            Err(mpsc::RecvTimeoutError::Disconnected)
        );
        drop(go);
    }
}
