//! A client and the upstream that have switched protocols: their connection's life from the answer to
//! the handshake to its end.
//!
//! It ends by itself, with the session it was opened for (WebSocket close code 1008), or with the
//! process (1001: the client comes back to whoever serves then). Its one line in the access log is
//! written at its end.

mod flow;
pub mod frames;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use crate::guard::Identity;
use crate::proxy::Switched;
use crate::server::connection::Occupied;
use crate::server::lifecycle::{Lifecycle, Phase};
use crate::server::problem::Code;
use crate::server::record::{Body, Outgoing, Record};
use crate::server::tasks;
use crate::server::tunnel::flow::{Flow, Over};
use crate::service::activity::{self, Activity};
use crate::service::streams::OpenStream;
use crate::types::time::Clock;

/// How long the client's connection may take to be handed over once the answer is on its way.
const HAND_OVER: Duration = Duration::from_secs(60);

/// Close codes (RFC 6455, 7.4.1).
const GOING_AWAY: u16 = 1001;
const POLICY_VIOLATION: u16 = 1008;

/// Everything that a switched connection needs.
#[derive(Debug)]
pub(super) struct Tunnel {
    pub(super) client: OnUpgrade,
    pub(super) upstream: Box<Switched>,
    pub(super) is_websocket: bool,
    /// How long both sides may be silent; none = for ever.
    pub(super) idle: Option<Duration>,
    /// The caller and the stream in the books, if the caller is known.
    pub(super) caller: Option<(Arc<Identity>, OpenStream)>,
    pub(super) activity: Activity,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) lifecycle: Lifecycle,
    /// Keeps the client's connection in the books, and from being idle.
    pub(super) occupied: Occupied,
}

impl Tunnel {
    /// Gives the answer to the handshake and lets the bytes flow until it ends; then the record's line
    /// is written.
    pub(super) fn begin(
        self: Box<Self>,
        mut record: Record,
        answer: Response<Body>,
    ) -> Response<Outgoing> {
        let answer = record.finish_handshake(answer);
        tasks::spawn(self.live(record));
        answer
    }

    async fn live(mut self: Box<Self>, mut record: Record) {
        // Nothing flows before: a session that ends meanwhile is told in the loop below.
        let Ok(Ok(client)) = timeout(HAND_OVER, &mut self.client).await else {
            return;
        };
        let client = TokioIo::new(client);
        let Self {
            upstream,
            is_websocket,
            idle,
            mut caller,
            activity,
            clock,
            lifecycle,
            occupied: _occupied,
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
                Ok(()) => note(&activity, caller.as_ref(), &*clock, &record),
                Err(over) => break End::Itself(over),
            }
        };
        match end {
            End::Session => {
                record.ended_with(Code::SessionEnded);
                flow.part(POLICY_VIOLATION, "session ended").await;
            }
            End::Process => {
                tokio::select! {
                    () = flow.part(GOING_AWAY, "going away") => {}
                    () = lifecycle.reached(Phase::Stopped) => {}
                }
            }
            End::Itself(Over::Finished) => record.completed(),
            End::Itself(Over::Broken | Over::Silent) => {}
        }
        record.sent(flow.bytes_down());
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

/// What the client says is activity of its session, told like a request's.
fn note(
    activity: &Activity,
    caller: Option<&(Arc<Identity>, OpenStream)>,
    clock: &dyn Clock,
    record: &Record,
) {
    if let Some((identity, _)) = caller
        && identity.is_due(clock.now(), activity.every())
    {
        let session = identity.session.clone();
        let address = Some(record.context().client);
        activity.note(activity::Note { session, address });
    }
}
