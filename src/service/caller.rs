//! Which facts about the client of a request are trusted?

use std::net::IpAddr;

use crate::types::ids::DeviceId;
use crate::types::language::Language;

/// Facts about the client that do not depend on its claims.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// The client address, from trusted facts only. None on a Unix socket.
    pub address: Option<IpAddr>,
    /// The User-Agent header, unchanged.
    pub agent: String,
    /// The language of ours that the client prefers, if it names one.
    pub language: Option<Language>,
    /// The id of the request, as in the access log.
    pub request_id: String,
    /// The device cookie, if there is one.
    pub device: Option<DeviceId>,
    /// The values of further device cookies; nearly always none.
    pub other_devices: Vec<DeviceId>,
}
