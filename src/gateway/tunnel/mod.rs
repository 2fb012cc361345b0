//! What happens between a client and the upstream after they have switched protocols?
//!
//! A tunnel ends by itself, with the session it was opened for (WebSocket close code 1008), or with the
//! process (1001: the client reconnects). Its log line is written at its end.

mod direction;
mod flow;
pub mod frames;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use tokio::time::timeout;

use crate::api::problem::Code;
use crate::gateway::body::{Body, LoggedBody};
use crate::gateway::record::RequestLog;
use crate::gateway::tunnel::flow::{Flow, Over};
use crate::guard::Identity;
use crate::net::connection::active::ActiveGuard;
use crate::net::lifecycle::{Lifecycle, Phase};
use crate::net::tasks;
use crate::net::upgrade::OnUpgrade;
use crate::proxy::Switched;
use crate::service::activity::{self, Activity};
use crate::service::streams::OpenStream;
use crate::types::time::Clock;

/// How long hyper may take to hand over the client's connection after the response.
const HAND_OVER: Duration = Duration::from_secs(60);

/// Close codes (RFC 6455, 7.4.1).
const GOING_AWAY: u16 = 1001;
const POLICY_VIOLATION: u16 = 1008;

/// Everything that a switched connection needs.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) client: OnUpgrade,
    pub(crate) upstream: Box<Switched>,
    pub(crate) is_websocket: bool,
    /// How long both sides may be silent; none = no limit.
    pub(crate) idle: Option<Duration>,
    /// The caller and its registered stream, if the caller is known.
    pub(crate) caller: Option<(Arc<Identity>, OpenStream)>,
    pub(crate) activity: Activity,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) lifecycle: Lifecycle,
    /// Keeps the client's connection registered and active.
    pub(crate) active: ActiveGuard,
}

impl Tunnel {
    /// Returns the response to the handshake and starts the tunnel; the log line is written when it ends.
    pub(crate) fn begin(
        self: Box<Self>,
        mut log: Box<RequestLog>,
        answer: Response<Body>,
    ) -> Response<LoggedBody> {
        let answer = LoggedBody::respond_to_upgrade(&mut log, answer);
        tasks::spawn(self.live(log));
        answer
    }

    async fn live(mut self: Box<Self>, mut log: Box<RequestLog>) {
        // Nothing was transferred before. If the session ends meanwhile, the loop below detects it.
        let Ok(Some(client)) = timeout(HAND_OVER, self.client.wait()).await else {
            return;
        };
        let Self {
            upstream,
            is_websocket,
            idle,
            mut caller,
            activity,
            clock,
            lifecycle,
            active: _active,
            ..
        } = *self;
        let mut flow = Flow::new(client, upstream, is_websocket, idle);
        let mut closing = pin!(lifecycle.reached(Phase::Closing));
        let end = loop {
            let flowed = tokio::select! {
                biased;
                () = session_is_over(&mut caller) => break End::Session,
                () = &mut closing => break End::Process,
                flowed = flow.run() => flowed,
            };
            match flowed {
                Ok(()) => note(&activity, caller.as_ref(), &*clock, &log),
                Err(over) => break End::Itself(over),
            }
        };
        match end {
            End::Session => {
                log.ended_with(Code::SessionEnded);
                flow.close(POLICY_VIOLATION, "session ended").await;
            }
            End::Process => {
                tokio::select! {
                    () = flow.close(GOING_AWAY, "going away") => {}
                    () = lifecycle.reached(Phase::Stopped) => {}
                }
            }
            End::Itself(Over::Finished) => log.completed(),
            End::Itself(Over::Broken | Over::Silent) => {}
        }
        log.sent(flow.bytes_down());
    }
}

/// Why a tunnel ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Session,
    Process,
    Itself(Over),
}

async fn session_is_over(caller: &mut Option<(Arc<Identity>, OpenStream)>) {
    match caller {
        Some((_, stream)) => stream.over().await,
        None => std::future::pending().await,
    }
}

/// Bytes from the client count as activity of its session, like a request.
fn note(
    activity: &Activity,
    caller: Option<&(Arc<Identity>, OpenStream)>,
    clock: &dyn Clock,
    log: &RequestLog,
) {
    if let Some((identity, _)) = caller
        && identity.is_due(clock.now(), activity.every())
    {
        let session = identity.session.clone();
        let address = Some(log.context().client);
        activity.note(activity::Note { session, address });
    }
}
