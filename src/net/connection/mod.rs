//! How does one client connection live, from accept to close?
//!
//! ```text
//! accepted ─→ setup (PROXY header, TLS, HTTP version) ─→ http1 or http2 ─→ the handler, per request
//!                └────────── state: the deadlines of every phase ──────────┘
//! ```

pub mod active;
pub mod body_rate;
mod command;
pub mod deadlines;
mod frame_progress;
mod h2_response;
mod h2_streams;
pub mod h2_tunnel;
pub mod handle;
pub(crate) mod handshake_queue;
mod head_end;
mod http1;
mod http2;
mod idle;
pub mod request_age;
pub mod response_watch;
pub(crate) mod setup;
pub(crate) mod state;
mod tls;
mod transport;
mod watched_io;

use std::future::{Future as _, poll_fn};
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;

use crate::net::connection::command::ConnectionCommand;
use crate::net::connection::setup::Opened;
use crate::net::connection::transport::HttpVersion;
use crate::net::connections::{PanicCounter, Registered};
use crate::net::handler::Handler;
use crate::net::served::Served;
use crate::net::stream::Stream;

/// Serves one connection until it ends, or until it is cut.
pub(crate) async fn serve<H: Handler>(
    stream: Stream,
    address: IpAddr,
    registered: Registered,
    served: Arc<Served<H>>,
) {
    let state = Arc::clone(&registered.state);
    let mut life = Box::pin(live(stream, address, registered, served));
    let mut is_listening = false;
    poll_fn(|task| {
        if !is_listening {
            state.listen(task.waker());
            is_listening = true;
        }
        if state.has_command(ConnectionCommand::Cut) {
            return Poll::Ready(());
        }
        life.as_mut().poll(task)
    })
    .await;
    state.h2_streams.cut();
}

async fn live<H: Handler>(
    stream: Stream,
    address: IpAddr,
    registered: Registered,
    served: Arc<Served<H>>,
) {
    let _panics = PanicCounter::new(&registered.connections);
    let Some(opened) = Box::pin(setup::open(stream, address, registered, &served)).await else {
        return;
    };
    let Opened {
        transport,
        protocol,
        connection,
    } = opened;
    match protocol {
        HttpVersion::Http1 => http1::serve(transport, connection, served).await,
        HttpVersion::Http2 => Box::pin(http2::serve(transport, connection, served)).await,
    }
}
