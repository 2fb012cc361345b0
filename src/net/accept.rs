//! How does a listener accept connections, and what does it do when that fails?
//!
//! A client that closes before it is accepted does not affect others. When the machine has no more descriptors
//! or memory, the listener pauses instead of trying again at once.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::Duration;

use tokio::time::sleep;

use crate::net::slots::{SlotPool, SlotProtection};
use crate::net::tasks;

/// How long a listener pauses after the machine ran out of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// Binds a listener that shares its address with no other socket.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Waits for the next connection. `listener` names the listener in the log.
pub(crate) async fn next<S, A>(listener: &'static str, mut accept: impl FnMut() -> A) -> S
where
    A: Future<Output = io::Result<S>>,
{
    loop {
        match accept().await {
            Ok(stream) => return stream,
            Err(error) if is_caused_by_client(&error) => {}
            Err(error) => {
                tracing::warn!(listener, %error, "cannot accept connections; pausing");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Serves connections, each in a task of its own and at most `slots` at once, until dropped. When all slots are
/// taken, a new connection evicts a silent one; if there is none it waits in the kernel's queue.
pub(crate) async fn each<S, A, F>(
    listener: &'static str,
    slots: usize,
    mut accept: impl FnMut() -> A,
    serve: impl Fn(S, SlotProtection) -> F,
) where
    A: Future<Output = io::Result<(S, Option<IpAddr>)>>,
    F: Future<Output = ()> + Send + 'static,
{
    let pool = SlotPool::new(slots);
    loop {
        pool.available().await;
        let (stream, address) = next(listener, &mut accept).await;
        let slot = pool.take(address);
        let serving = serve(stream, slot.protection());
        tasks::spawn(slot.serve(serving));
    }
}

/// Whether accepting failed because the client has closed the connection already.
fn is_caused_by_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::{pending, ready};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn accepting_pauses_on_resource_errors_and_not_on_client_errors() {
        for (error, pause) in [
            (io::ErrorKind::ConnectionAborted, Duration::ZERO),
            (io::ErrorKind::ConnectionReset, Duration::ZERO),
            (io::ErrorKind::Interrupted, Duration::ZERO),
            (io::ErrorKind::OutOfMemory, PAUSE),
        ] {
            let mut script = VecDeque::from([Err(io::Error::from(error)), Ok(7)]);
            let began = Instant::now();
            let taken = next("test", || ready(script.pop_front().unwrap())).await;
            assert_eq!((taken, began.elapsed()), (7, pause), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn connections_above_the_limit_wait_in_the_kernel_while_all_are_busy() {
        let (taken, served) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
        let accept = || ready(Ok((taken.fetch_add(1, Ordering::Relaxed), None)));
        let serve = |_, protection: SlotProtection| {
            let served = Arc::clone(&served);
            protection.begin();
            async move {
                served.fetch_add(1, Ordering::Relaxed);
                pending::<()>().await;
            }
        };
        let for_a_while = Duration::from_secs(1);
        let serving = each("test", 3, accept, serve);
        assert!(tokio::time::timeout(for_a_while, serving).await.is_err());
        assert_eq!(taken.load(Ordering::Relaxed), 3);
        assert_eq!(served.load(Ordering::Relaxed), 3);
    }
}
