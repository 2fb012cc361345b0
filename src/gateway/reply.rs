//! What do the phases of a request produce?

use http::Response;

use crate::api::wire::cors::Cors;
use crate::gateway::answer::Refusal;
use crate::gateway::bad_request::BadRequest;
use crate::gateway::body::Body;
use crate::gateway::guard::Renewal;
use crate::gateway::tunnel::Tunnel;

/// A response and its extras.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) response: Response<Body>,
    pub(crate) extras: Extras,
}

/// A refusal and the extras of its response.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    pub(crate) extras: Extras,
}

/// Most requests have none, so they are boxed: a reply is moved several times.
pub(crate) type Extras = Option<Box<ResponseExtras>>;

/// The values that accompany a response, also that of a refusal.
#[derive(Debug, Default)]
pub(crate) struct ResponseExtras {
    pub(crate) cors: Option<Cors>,
    /// The renewal to complete with the response.
    pub(crate) renewal: Option<Box<Renewal>>,
    /// The tunnel to start once the response is complete.
    pub(crate) tunnel: Option<Box<Tunnel>>,
}

impl Reply {
    /// A response and nothing else.
    pub(crate) fn plain(response: Response<Body>) -> Self {
        Self {
            response,
            extras: None,
        }
    }

    /// The response to a handshake, after which a tunnel starts.
    pub(crate) fn with_tunnel(response: Response<Body>, tunnel: Box<Tunnel>) -> Self {
        Self {
            response,
            extras: Some(Box::new(ResponseExtras {
                tunnel: Some(tunnel),
                ..ResponseExtras::default()
            })),
        }
    }
}

/// Adds a renewal to a reply or to a refusal.
pub(crate) fn with_renewal(
    reply: Result<Reply, Refusal>,
    renewal: Option<Box<Renewal>>,
) -> Result<Reply, Refused> {
    let mut reply = reply.map_err(Refused::from);
    if renewal.is_some() {
        let extras = match &mut reply {
            Ok(reply) => &mut reply.extras,
            Err(refused) => &mut refused.extras,
        };
        extras.get_or_insert_default().renewal = renewal;
    }
    reply
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            extras: None,
        }
    }
}

impl From<BadRequest> for Refused {
    fn from(bad: BadRequest) -> Self {
        Refusal::from(bad).into()
    }
}
