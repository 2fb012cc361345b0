//! Which host is a request for, and is it one of the configured hosts?

use http::{HeaderMap, HeaderValue, Uri, header};

use crate::gateway::bad_request::BadRequest;
use crate::types::header::at_most_once;
use crate::types::origin::split_authority;

/// The configured hosts; none = any.
#[derive(Debug, Clone, Default)]
pub struct Hosts(Vec<String>);

/// The host a request is for.
#[derive(Debug, Clone)]
pub struct Host {
    /// As the client sent it.
    pub value: HeaderValue,
    /// Lower case, without port, for rules.
    pub name: HostName,
}

/// A host name for rules. It is owned, so that it does not borrow from the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName(String);

/// Hosts are equal when their names are, whatever the port.
impl PartialEq for Host {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl HostName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Hosts {
    /// These, in lower case and without port.
    pub fn new(names: Vec<String>) -> Self {
        Self(names)
    }

    /// The host that a header names, if it is valid and configured.
    pub fn host_of(&self, value: HeaderValue) -> Result<Host, BadRequest> {
        let text = value.to_str().map_err(|_| BadRequest::Host)?;
        let name = host_name(text)
            .ok_or(BadRequest::Host)?
            .to_ascii_lowercase();
        if self.0.is_empty() || self.0.contains(&name) {
            Ok(Host {
                value,
                name: HostName(name),
            })
        } else {
            Err(BadRequest::Host)
        }
    }
}

/// The `Host` line, of which there is at most one.
pub(crate) fn single_host(headers: &HeaderMap) -> Result<Option<&HeaderValue>, BadRequest> {
    at_most_once(headers, header::HOST).map_err(|_| BadRequest::Host)
}

/// The host of an HTTP/2 request: its `:authority`, with which a `Host` line has to agree; a `Host`
/// line alone where a proxy had no authority.
pub(crate) fn authority(uri: &Uri, headers: &HeaderMap) -> Result<HeaderValue, BadRequest> {
    match (uri.authority(), single_host(headers)?) {
        (None, None) => Err(BadRequest::Host),
        (None, Some(host)) => Ok(host.clone()),
        (Some(authority), host) => {
            let authority = authority.as_str().as_bytes();
            if host.is_some_and(|host| !host.as_bytes().eq_ignore_ascii_case(authority)) {
                return Err(BadRequest::Host);
            }
            HeaderValue::from_bytes(authority).map_err(|_| BadRequest::Host)
        }
    }
}

/// The name in `name`, `name:port`, `[v6]:port`; `None` when it is anything else.
fn host_name(text: &str) -> Option<&str> {
    split_authority(text).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_host_name_holds_a_separator(text in "[ -~]{0,40}") {
            if let Some(name) = host_name(&text) {
                prop_assert!(!name.contains(['@', '/', '\\', ',', ' ', '#', '?']));
            }
        }
    }
}
