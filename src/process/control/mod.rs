//! How are an operator's commands received on the control socket?

mod audit;
mod backups;
mod imports;
mod operator;
mod outcome;
mod sessions;
mod users;
mod view;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};

use crate::control::{Reply, wire};
use crate::net::accept;
use crate::net::slots::SlotProtection;

pub(crate) use self::operator::{Operator, RunningServer};

/// Connections at once.
const MAX_CONNECTIONS: usize = 16;

/// How long a command may take to arrive, and its reply to be sent.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Serves the control socket until dropped.
pub(crate) async fn serve(listener: UnixListener, operator: Arc<Operator>) {
    let listener = &listener;
    let accept = || async move { Ok((listener.accept().await?.0, None)) };
    let serve = |stream, protection| serve_connection(stream, Arc::clone(&operator), protection);
    accept::each("control", MAX_CONNECTIONS, accept, serve).await;
}

async fn serve_connection(
    mut stream: UnixStream,
    operator: Arc<Operator>,
    protection: SlotProtection,
) {
    // The mode of the socket has the same effect, but can be changed by mistake.
    let caller = stream.peer_cred().map(|caller| caller.uid());
    let is_trusted = caller.as_ref().is_ok_and(|user| wire::is_trusted(*user));
    let reply = match wire::receive(&mut stream, TIMEOUT).await {
        Ok(request) if is_trusted => {
            protection.begin();
            operator.execute(request).await
        }
        Ok(_) => {
            tracing::warn!(?caller, "another user on the control socket was refused");
            let words = "only root and the user that runs the server may give orders";
            Reply::Failed(words.to_owned())
        }
        Err(error) => wire::refuse(&error),
    };
    if let Err(error) = wire::answer(&mut stream, &reply, TIMEOUT).await {
        tracing::debug!(%error, "an operator did not wait for the reply");
    }
}
