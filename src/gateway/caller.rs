//! How does the service learn who calls: address, user agent, device?

use http::{HeaderMap, HeaderValue, header};

use crate::api::Api;
use crate::gateway::context::Context;
use crate::guard::{DEVICE_TOKEN, extract};
use crate::service::Caller;
use crate::types::device::MAX_USER_AGENT;
use crate::types::header::exactly_once;
use crate::types::ids::DeviceId;
use crate::types::language::Language;

/// The caller of a request, for the service. The address is that of the context, which takes it from
/// trusted facts only.
pub(crate) fn caller(api: &Api, headers: &HeaderMap, context: &Context) -> Caller {
    let agent = headers
        .get(header::USER_AGENT)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    let agent = agent
        .get(..agent.len().min(MAX_USER_AGENT))
        .unwrap_or_default();
    let copies = extract::copies(headers, &api.settings().cookies.device);
    let copies = copies.unwrap_or_default().texts();
    let in_cookies = copies.iter().filter_map(|id| id.expose().parse().ok());
    let mut devices = device_token(headers).into_iter().chain(in_cookies);
    Caller {
        address: Some(context.client),
        agent: String::from_utf8_lossy(agent).into_owned(),
        language: language(headers),
        request_id: context.request_id().to_owned(),
        device: devices.next(),
        other_devices: devices.collect(),
    }
}

/// The preferred language. Several lines count as one list; only the first is read.
fn language(headers: &HeaderMap) -> Option<Language> {
    let value = headers.get(header::ACCEPT_LANGUAGE)?.to_str().ok()?;
    Language::accepted(value)
}

/// The device token of a client without cookies, if it is sent exactly once.
fn device_token(headers: &HeaderMap) -> Option<DeviceId> {
    let token = exactly_once(headers, DEVICE_TOKEN)?;
    token.to_str().ok()?.parse().ok()
}
