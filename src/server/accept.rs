//! Taking connections from the kernel, for every listener.
//!
//! What always holds: a client that is gone before it is accepted costs nobody else anything, and a
//! machine that has run out of descriptors or memory is not asked again at once.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::Duration;

use tokio::time::sleep;

use crate::server::seats::{AtWork, Seats};
use crate::server::tasks;

/// How long accepting rests after the machine ran out of descriptors or memory.
pub(super) const REST: Duration = Duration::from_millis(100);

/// Binds a listener that has its address for itself.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The next connection, however long it takes to come. `listener` says in the log which one it is.
pub(super) async fn next<S, A>(listener: &'static str, mut accept: impl FnMut() -> A) -> S
where
    A: Future<Output = io::Result<S>>,
{
    loop {
        match accept().await {
            Ok(stream) => return stream,
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                tracing::warn!(listener, %error, "cannot accept connections; resting");
                sleep(REST).await;
            }
        }
    }
}

/// Serves connections, each in a task of its own and at most `places` at once, until dropped. When all
/// places are taken a new connection gets that of one that says nothing; where all are at work it waits in
/// the kernel.
pub(super) async fn each<S, A, F>(
    listener: &'static str,
    places: usize,
    mut accept: impl FnMut() -> A,
    serve: impl Fn(S, AtWork) -> F,
) where
    A: Future<Output = io::Result<(S, Option<IpAddr>)>>,
    F: Future<Output = ()> + Send + 'static,
{
    let seats = Seats::new(places);
    loop {
        seats.available().await;
        let (stream, address) = next(listener, &mut accept).await;
        let seated = seats.take(address);
        let serving = serve(stream, seated.at_work());
        tasks::spawn(seated.serve(serving));
    }
}

/// Whether accepting failed because the client was gone already.
fn is_the_clients(error: &io::Error) -> bool {
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
    async fn accepting_rests_when_the_machine_is_short_and_not_when_a_client_is_gone() {
        for (error, rest) in [
            (io::ErrorKind::ConnectionAborted, Duration::ZERO),
            (io::ErrorKind::ConnectionReset, Duration::ZERO),
            (io::ErrorKind::Interrupted, Duration::ZERO),
            (io::ErrorKind::OutOfMemory, REST),
        ] {
            let mut script = VecDeque::from([Err(io::Error::from(error)), Ok(7)]);
            let began = Instant::now();
            let taken = next("test", || ready(script.pop_front().unwrap())).await;
            assert_eq!((taken, began.elapsed()), (7, rest), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_above_the_places_waits_in_the_kernel_while_all_are_at_work() {
        let (taken, served) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
        let accept = || ready(Ok((taken.fetch_add(1, Ordering::Relaxed), None)));
        let serve = |_, at_work: AtWork| {
            let served = Arc::clone(&served);
            at_work.begin();
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
