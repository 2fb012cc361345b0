//! The operator's orders, executed: by the running server over its control socket, or by the
//! command line itself when no server runs.

mod operator;
mod view;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};

use crate::control::{Reply, wire};
use crate::server::accept;
use crate::server::lifecycle::Lifecycle;
use crate::server::seats::AtWork;
use crate::service::Current;
use crate::tokens::keys::Keys;

/// Orders at once.
const MAX_CALLS: usize = 16;

/// How long one order may take to arrive and be answered.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who carries out orders.
pub struct Operator {
    /// Accounts and sessions.
    pub service: Arc<Current>,
    /// Keys.
    pub keys: Arc<Keys>,
    /// The running server, if one runs.
    pub server: Option<RunningServer>,
}

/// What only a running server can be asked.
pub struct RunningServer {
    /// Its phase.
    pub lifecycle: Lifecycle,
    /// Whether it is ready, and a word about it.
    pub readiness: Box<dyn Fn() -> (bool, String) + Send + Sync>,
    /// Reads the configuration again; says what came of it.
    pub reload: Arc<dyn Fn() -> Result<String, String> + Send + Sync>,
}

impl std::fmt::Debug for RunningServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunningServer").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operator")
            .field("running", &self.server.is_some())
            .finish_non_exhaustive()
    }
}

/// Serves the control socket until dropped.
pub async fn serve(listener: UnixListener, operator: Arc<Operator>) {
    let listener = &listener;
    let accept = || async move { Ok((listener.accept().await?.0, None)) };
    let obey = |stream, at_work| obey(stream, Arc::clone(&operator), at_work);
    accept::each("control", MAX_CALLS, accept, obey).await;
}

async fn obey(mut stream: UnixStream, operator: Arc<Operator>, at_work: AtWork) {
    // The mode of the socket says the same; a mode can be changed by mistake.
    let caller = stream.peer_cred().map(|caller| caller.uid());
    let is_trusted = caller.as_ref().is_ok_and(|user| wire::is_trusted(*user));
    let reply = match wire::receive(&mut stream, PATIENCE).await {
        Ok(request) if is_trusted => {
            at_work.begin();
            operator.execute(request).await
        }
        Ok(_) => {
            tracing::warn!(?caller, "a stranger on the control socket was refused");
            let words = "only root and the user that runs the server may give orders";
            Reply::Failed(words.to_owned())
        }
        Err(error) => wire::refuse(&error),
    };
    if let Err(error) = wire::answer(&mut stream, &reply, PATIENCE).await {
        tracing::debug!(%error, "an operator did not wait for the answer");
    }
}
