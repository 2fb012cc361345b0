//! What does the fuzz target of gateways' questions execute? A panic is a finding.

#![expect(
    clippy::missing_panics_doc,
    reason = "a panic is what this function is for"
)]

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::gateway::admit::Admission;
use crate::gateway::host::Hosts;
use crate::gateway::original::Check;
use crate::types::path::{Allowances, CleanPath};

/// Parses a gateway's question: first the part of the target after our route, then header lines. An accepted
/// question has a plain path, a valid host and a method that is served.
pub fn gateway_question(data: &[u8]) {
    let admission = Admission {
        paths: Allowances::default(),
        hosts: Hosts::default(),
        methods: vec![Method::GET, Method::POST],
    };
    let mut lines = data.split(|byte| *byte == b'\n');
    let below = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let mut headers = HeaderMap::new();
    for line in lines.take(32) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (name, value) = (parts.next(), parts.next());
        let name = name.and_then(|name| HeaderName::from_bytes(name).ok());
        let value = value.and_then(|value| HeaderValue::from_bytes(value.trim_ascii()).ok());
        if let (Some(name), Some(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let Ok(host) = admission
        .hosts
        .host_of(HeaderValue::from_static("app.example.org"))
    else {
        return;
    };
    let check = Check {
        method: &Method::GET,
        host: &host,
        below: &below,
        headers: &headers,
    };
    if let Ok(original) = check.original(&admission) {
        assert!(admission.methods.contains(&original.method));
        assert!(
            !original
                .host
                .name
                .as_str()
                .contains(['@', '/', ',', ' ', '?'])
        );
        let strict = Allowances::default();
        let _judged = CleanPath::parse_target(original.target.as_str(), &strict);
    }
}
