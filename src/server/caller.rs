//! Who is calling, for each who needs to know: the upstream, the record, the session, the service.
//!
//! What always holds: addresses and schemes are those of the request's context, which takes them from
//! trusted facts only.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header};

use crate::guard::{DEVICE_TOKEN, Identity, extract};
use crate::proxy::Via;
use crate::server::context::Context;
use crate::server::pipeline::{Arrival, Pipeline};
use crate::server::record::Record;
use crate::service::{Caller, activity};
use crate::types::device::MAX_USER_AGENT;
use crate::types::ids::DeviceId;
use crate::types::net::Scheme;

impl Pipeline {
    /// What the proxy writes its headers about the connection from.
    pub(super) fn via(&self, arrival: Arrival<'_>, record: &mut Record) -> Via {
        let mut via = record
            .context_mut()
            .via(Some(arrival.host.value.clone()), self.public_scheme);
        if let (Some(name), Some(subject)) = (&self.subject_header, &arrival.peer.subject) {
            via.subject = Some(Box::new((name.clone(), subject.clone())));
        }
        via
    }

    /// Tells the record who is calling, and now and then the session that it is in use.
    pub(super) fn note(&self, identity: &Arc<Identity>, record: &mut Record) {
        record.identified(identity);
        if identity.is_due(record.context().at, self.activity.every()) {
            let address = Some(record.context().client);
            let session = identity.session.clone();
            self.activity.note(activity::Note { session, address });
        }
    }

    /// Who is calling, as the service is told.
    pub(super) fn caller(&self, headers: &HeaderMap, context: &Context) -> Caller {
        let agent = headers
            .get(header::USER_AGENT)
            .map(HeaderValue::as_bytes)
            .unwrap_or_default();
        let agent = agent
            .get(..agent.len().min(MAX_USER_AGENT))
            .unwrap_or_default();
        let devices = extract::copies(headers, &self.api.settings().cookies.device);
        let devices = devices.unwrap_or_default().texts();
        let kept = devices.iter().filter_map(|id| id.expose().parse().ok());
        let mut devices = device_token(headers).into_iter().chain(kept);
        Caller {
            address: Some(context.client),
            agent: String::from_utf8_lossy(agent).into_owned(),
            request_id: context.request_id().to_owned(),
            device: devices.next(),
            other_devices: devices.collect(),
        }
    }

    /// What the client speaks: the configured public address knows best.
    pub(super) fn scheme(&self, context: &Context) -> Scheme {
        self.public_scheme.unwrap_or(context.scheme)
    }
}

/// The device token of a client without cookies, if it is sent exactly once.
fn device_token(headers: &HeaderMap) -> Option<DeviceId> {
    let mut lines = headers.get_all(DEVICE_TOKEN).iter();
    match (lines.next(), lines.next()) {
        (Some(only), None) => only.to_str().ok()?.parse().ok(),
        _ => None,
    }
}
