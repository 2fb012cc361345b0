//! Has the session ended that a request, or the response to it, belongs to?
//!
//! Revocations reach the registry of open streams, which notifies each stream of the session. A short request is
//! never entered there.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::{Mutex, MutexGuard};

use crate::gateway::answer::Refusal;
use crate::guard::{Denial, Identity};
use crate::net::connection::request_age::RequestAge;
use crate::net::connection::response_watch::ResponseWatch;
use crate::proxy::UpstreamError;
use crate::service::streams::{OpenStream, Opener, StreamRegistry};

/// Checks whether the session of one response has ended. The connection's sweep shares it.
#[derive(Debug)]
pub(crate) struct SessionWatch {
    registry: Arc<StreamRegistry>,
    identity: Arc<Identity>,
    /// Whether the response also ends when the caller's roles change.
    ends_with_roles: bool,
    stream: Mutex<Option<OpenStream>>,
}

impl ResponseWatch for SessionWatch {
    fn is_over(&self) -> bool {
        self.enter(&mut self.stream()).is_over()
    }
}

impl SessionWatch {
    pub(crate) fn new(
        registry: &Arc<StreamRegistry>,
        identity: &Arc<Identity>,
        ends_with_roles: bool,
    ) -> Self {
        Self {
            registry: Arc::clone(registry),
            identity: Arc::clone(identity),
            ends_with_roles,
            stream: Mutex::default(),
        }
    }

    /// The present epoch of the revocations.
    pub(crate) fn epoch(&self) -> u64 {
        self.registry.liveness().epoch()
    }

    /// Whether the session has ended; `None` while the response is not in the registry.
    pub(crate) fn poll_entered(&self, task: &mut Context<'_>) -> Option<bool> {
        let mut stream = self.stream();
        Some(stream.as_mut()?.poll_over(task).is_ready())
    }

    /// Enters the response in the registry. Ready when its session has ended.
    pub(crate) fn poll_over(&self, task: &mut Context<'_>) -> Poll<()> {
        self.enter(&mut self.stream()).poll_over(task)
    }

    fn enter<'a>(&self, stream: &'a mut Option<OpenStream>) -> &'a mut OpenStream {
        let opener = if self.ends_with_roles {
            opener
        } else {
            exchange
        };
        stream.get_or_insert_with(|| self.registry.open(opener(&self.identity)))
    }

    fn stream(&self) -> MutexGuard<'_, Option<OpenStream>> {
        self.stream.lock()
    }
}

/// The session that a stream is opened for. The stream also ends when the caller's roles change.
pub(crate) fn opener(identity: &Identity) -> Opener<'_> {
    Opener {
        session: &identity.session,
        version: Some(identity.version.unwrap_or_default()),
        expires_at: identity.expires_at,
    }
}

/// The same for an exchange of one request and one response: changed roles apply to the next request.
fn exchange(identity: &Identity) -> Opener<'_> {
    Opener {
        version: None,
        ..opener(identity)
    }
}

/// Waits for the head of a response until the caller's session ends. The request is entered in the registry
/// only once it is long; the connection's sweep wakes its task then.
pub(crate) async fn while_session_lasts<T>(
    response: impl Future<Output = Result<T, UpstreamError>>,
    identity: &Identity,
    registry: &Arc<StreamRegistry>,
    age: &RequestAge,
) -> Result<T, Refusal> {
    let mut response = pin!(response);
    let mut stream = None;
    poll_fn(|task| {
        if let Poll::Ready(response) = response.as_mut().poll(task) {
            return Poll::Ready(response.map_err(Refusal::from));
        }
        if stream.is_none() && !age.is_long() {
            return Poll::Pending;
        }
        let stream = stream.get_or_insert_with(|| registry.open(exchange(identity)));
        stream
            .poll_over(task)
            .map(|()| Err(Refusal::Denied(Denial::ended())))
    })
    .await
}

/// Waits for the head of a response whose stream is open from its beginning: that of a gRPC call, which
/// may be as late as the end of the call, or of an upgrade.
pub(crate) async fn while_stream_lasts<T>(
    stream: &mut OpenStream,
    response: impl Future<Output = Result<T, UpstreamError>>,
) -> Result<T, Refusal> {
    tokio::select! {
        biased;
        () = stream.over() => Err(Refusal::Denied(Denial::ended())),
        response = response => Ok(response?),
    }
}
