//! How is a password hashed without blocking a worker? On threads of a pool, behind a bounded queue.
//!
//! A job that does not start within [`PATIENCE`] fails, and no caller waits without a deadline. If a
//! future is dropped, its job stays in the queue and is skipped at its turn. A job that runs keeps its
//! thread until it is done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::crypto::password::{BadCost, BadHash, HashError, Hasher, Memory, Verified};
use crate::crypto::pool::Pool;
use crate::crypto::settings::Settings;
use crate::model::user::{HashCost, PasswordHash};
use crate::types::random::Random;
use crate::types::secret::Password;

pub use crate::crypto::pool::{Class, Share};

/// The longest time that a job may wait.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The largest number of parameter sets whose comparisons are counted.
const MAX_NOTED: usize = 64;

/// The longest time that a running job may take.
const LONGEST: Duration = Duration::from_secs(30);

/// Hashes and compares passwords, with a bounded number at once.
#[derive(Debug)]
pub struct PasswordPool {
    pool: Pool,
    hasher: Arc<Hasher>,
    random: Arc<dyn Random>,
    patience: Duration,
    /// The number of comparisons by parameter set.
    compared: Mutex<BTreeMap<HashCost, u64>>,
}

impl PasswordPool {
    /// Starts the threads.
    pub fn start(settings: Settings, random: Arc<dyn Random>) -> Result<Self, StartError> {
        Ok(Self {
            hasher: Arc::new(Hasher::new(settings)?),
            pool: Pool::start(settings.max_concurrent)?,
            random,
            patience: PATIENCE,
            compared: Mutex::default(),
        })
    }

    /// Hashes a password for storage, with a new salt.
    pub async fn hash(&self, password: Password, share: Share) -> Result<PasswordHash, Busy> {
        let salt = self.random.bytes();
        let hasher = Arc::clone(&self.hasher);
        let hash = self
            .run(share, move |memory| hasher.hash(&password, salt, memory))
            .await?;
        // The parameters were checked at start. Only memory can be missing.
        hash.map_err(|_| Busy)
    }

    /// Converts a hash of another system to the form in which it is stored. Refuses one that a comparison would
    /// refuse. Computes nothing.
    pub fn adopt(&self, hash: &str) -> Result<PasswordHash, BadHash> {
        self.hasher.adopt(hash)
    }

    /// Compares a password with a stored hash.
    pub async fn verify(
        &self,
        password: Password,
        stored: PasswordHash,
        share: Share,
    ) -> Result<Verified, PasswordError> {
        self.note(stored.cost());
        let hasher = Arc::clone(&self.hasher);
        let verified = self
            .run(share, move |memory| {
                hasher.verify(&password, &stored, memory)
            })
            .await?;
        verified.map_err(PasswordError::from)
    }

    /// The same work for a user who does not exist, with the parameter set of some account; without any
    /// account, with the configured set.
    pub async fn verify_without_account(
        &self,
        password: Password,
        cost: Option<HashCost>,
        share: Share,
    ) -> Result<(), PasswordError> {
        self.note(cost.clone().unwrap_or_else(|| self.hasher.cost()));
        let hasher = Arc::clone(&self.hasher);
        let verified = self
            .run(share, move |memory| {
                hasher.verify_without_account(&password, cost.as_ref(), memory)
            })
            .await?;
        let _mismatch = verified.map_err(PasswordError::from)?;
        Ok(())
    }

    /// The number of comparisons by parameter set, with and without an account.
    pub fn compared(&self) -> BTreeMap<HashCost, u64> {
        self.lock().clone()
    }

    /// The number of jobs that wait.
    pub fn waiting(&self) -> usize {
        self.pool.waiting()
    }

    fn note(&self, cost: HashCost) {
        let mut compared = self.lock();
        if compared.len() < MAX_NOTED || compared.contains_key(&cost) {
            let count = compared.entry(cost).or_default();
            *count = count.saturating_add(1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<HashCost, u64>> {
        self.compared.lock()
    }

    async fn run<T: Send + 'static>(
        &self,
        share: Share,
        work: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let (started, begun) = oneshot::channel();
        let (reply, answer) = oneshot::channel();
        let job = move |memory: &mut Memory| {
            // Fails when no caller waits any more: the work would have no use.
            if started.send(()).is_ok() {
                drop(reply.send(work(memory)));
            }
        };
        self.pool.submit(share, Box::new(job)).map_err(|_| Busy)?;
        within(self.patience, begun).await?;
        within(LONGEST, answer).await
    }
}

async fn within<T>(span: Duration, what: oneshot::Receiver<T>) -> Result<T, Busy> {
    match timeout(span, what).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) | Err(_) => Err(Busy),
    }
}

/// Too many passwords are being hashed. A later attempt may succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are being checked")]
pub struct Busy;

/// Why a comparison has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too many passwords are being hashed.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The stored hash cannot be used.
    #[error("the stored password hash cannot be used")]
    Stored(#[source] HashError),
}

impl From<HashError> for PasswordError {
    fn from(error: HashError) -> Self {
        match error {
            HashError::NoMemory => Self::Busy(Busy),
            HashError::Corrupt | HashError::TooDear => Self::Stored(error),
        }
    }
}

/// Why the pool could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The parameters are not possible.
    #[error(transparent)]
    Cost(#[from] BadCost),
    /// The system started no thread.
    #[error("a thread for password hashing could not be started")]
    Thread(#[from] std::io::Error),
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::crypto::pool::QUEUE_LENGTH;
    use crate::types::random::SeededRandom;

    const ANYBODY: Share = Share::OPERATOR;

    fn pool() -> PasswordPool {
        let settings = Settings {
            memory_kib: 64,
            iterations: 1,
            parallelism: 1,
            max_concurrent: 1,
        };
        PasswordPool::start(settings, Arc::new(SeededRandom::new(1))).unwrap()
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(future)
    }

    fn password(text: &str) -> Password {
        Password::new(text.to_owned()).unwrap()
    }

    #[test]
    fn a_password_is_hashed_and_verified() {
        let pool = pool();
        block_on(async {
            let hash = pool.hash(password("secret"), ANYBODY).await.unwrap();
            let effect = pool.verify(password("secret"), hash.clone(), ANYBODY).await;
            assert_eq!(effect, Ok(Verified::Match));
            let effect = pool.verify(password("other"), hash, ANYBODY).await;
            assert_eq!(effect, Ok(Verified::Mismatch));
            let nobody = pool
                .verify_without_account(password("secret"), None, ANYBODY)
                .await;
            assert_eq!(nobody, Ok(()));
            let broken = PasswordHash::new("x");
            assert_eq!(
                pool.verify(password("secret"), broken, ANYBODY).await,
                Err(PasswordError::Stored(HashError::Corrupt))
            );
        });
    }

    /// Occupies the only thread until the sender is dropped.
    fn occupy(pool: &PasswordPool) -> mpsc::Sender<()> {
        let (release, wait) = mpsc::channel::<()>();
        let (started, begun) = mpsc::channel();
        let job = move |_: &mut Memory| {
            started.send(()).unwrap();
            let _ = wait.recv();
        };
        pool.pool.submit(ANYBODY, Box::new(job)).unwrap();
        begun.recv().unwrap();
        release
    }

    #[test]
    fn s36_a_full_queue_is_an_error_at_once() {
        let pool = pool();
        let _hold = occupy(&pool);
        for _ in 0..QUEUE_LENGTH {
            pool.pool.submit(ANYBODY, Box::new(|_| ())).unwrap();
        }
        block_on(async {
            assert_eq!(pool.hash(password("x"), ANYBODY).await.unwrap_err(), Busy);
            let effect = pool
                .verify_without_account(password("x"), None, ANYBODY)
                .await;
            assert_eq!(effect, Err(PasswordError::Busy(Busy)));
        });
    }

    #[test]
    fn s36_a_wait_in_the_queue_beyond_the_limit_is_an_error() {
        let mut pool = pool();
        pool.patience = Duration::from_millis(1);
        let hold = occupy(&pool);
        // The thread stays taken until the answer is in, however slow this machine is.
        let refused = block_on(pool.hash(password("x"), ANYBODY));
        assert_eq!(refused.unwrap_err(), Busy);
        drop(hold);
    }

    #[test]
    fn s36_a_cancelled_caller_costs_no_hash() {
        let pool = pool();
        let hold = occupy(&pool);
        let (ran, has_run) = mpsc::channel();
        block_on(async {
            let waiting = pool.run(ANYBODY, move |_| ran.send(()).unwrap());
            // Polled once, then dropped, as when the client disconnects.
            assert!(timeout(Duration::ZERO, waiting).await.is_err());
            drop(hold);
            let after = pool.run(ANYBODY, |_| ()).await;
            assert_eq!(after, Ok(()));
        });
        assert_eq!(has_run.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    }
}
