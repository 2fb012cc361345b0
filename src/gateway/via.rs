//! Phase 6: what does the upstream learn about the client's connection?

use http::{HeaderName, HeaderValue};

use crate::gateway::context::Context;
use crate::gateway::host::Host;
use crate::net::peer::Peer;
use crate::proxy::Via;
use crate::types::net::Scheme;

/// The configured part of what the upstream is sent about a connection.
#[derive(Debug, Clone)]
pub struct ConnectionHeaders {
    /// The scheme of the public address, when one is configured.
    pub public_scheme: Option<Scheme>,
    /// The header for the subject of a client certificate.
    pub subject_header: Option<HeaderName>,
}

impl ConnectionHeaders {
    /// The scheme that the client uses. A configured public address decides.
    pub(crate) fn scheme(&self, context: &Context) -> Scheme {
        self.public_scheme.unwrap_or(context.scheme)
    }

    /// The facts that the proxy writes its forwarding headers from. Takes the forwarding headers of a
    /// trusted peer out of the context.
    pub(crate) fn via(&self, context: &mut Context, host: &Host, peer: &Peer) -> Via {
        Via {
            client: context.client,
            is_shared: context.is_shared,
            peer: context.peer,
            scheme: self.scheme(context),
            host: Some(host.value.clone()),
            request_id: context.request_id.clone(),
            subject: self.subject(peer),
            earlier: std::mem::take(&mut context.earlier),
        }
    }

    fn subject(&self, peer: &Peer) -> Option<Box<(HeaderName, HeaderValue)>> {
        let (name, subject) = (self.subject_header.as_ref()?, peer.subject.as_ref()?);
        Some(Box::new((name.clone(), subject.clone())))
    }
}
