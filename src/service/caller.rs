//! Who is at the other end, as far as the connection tells.

use std::net::IpAddr;

use crate::types::ids::DeviceId;

/// Facts about the client that do not depend on what it claims to be.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// The client address, from trusted facts only; none on a Unix socket.
    pub address: Option<IpAddr>,
    /// The User-Agent header, as sent.
    pub agent: String,
    /// The request's id, as the access log shows it.
    pub request_id: String,
    /// The device cookie, if it showed one.
    pub device: Option<DeviceId>,
    /// What other copies of that cookie said; nearly always none.
    pub other_devices: Vec<DeviceId>,
}
