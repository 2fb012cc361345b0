//! The head of the request that the upstream reads.
//!
//! The order is the defence. First the names in `Connection` are collected; then each header of
//! the client is written unless it is hop-by-hop, named by `Connection`, or in the
//! [`StripSet`] (identity, forwarding, framing, in every spelling); then, and only then, ours are
//! written. So nothing the client sends can stand beside, replace or remove a header of ours.
//!
//! The head goes straight from the client's header map into one reused buffer: no header is
//! copied on the heap, the map is not changed. The target is the client's, byte for byte.

use std::io::Write;

use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use crate::guard::Identity;
use crate::proxy::cookies::{Left, write_others};
use crate::proxy::forwarded;
use crate::proxy::hop::Named;
use crate::proxy::sender::Framing;
use crate::proxy::settings::{Address, Settings};
use crate::proxy::strip::StripSet;
use crate::proxy::via::Via;

/// What the settings say about request heads.
#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) strip: StripSet,
    cookies: Vec<Vec<u8>>,
    /// The upstream's own authority.
    authority: Vec<u8>,
    preserve_host: bool,
}

impl Outbound {
    pub(super) fn new(settings: &Settings) -> Self {
        let managed = settings.managed.iter().map(http::HeaderName::as_str);
        let withheld = (!settings.pass_authorization).then_some(AUTHORIZATION.as_str());
        Self {
            strip: StripSet::new(managed.chain(withheld)),
            cookies: settings
                .cookies
                .iter()
                .map(|name| name.clone().into_bytes())
                .collect(),
            authority: authority(&settings.upstream),
            preserve_host: settings.preserve_host,
        }
    }

    /// Writes the whole head into `out`, which it empties first.
    pub(super) fn write_head(
        &self,
        out: &mut Vec<u8>,
        parts: &Parts,
        framing: Framing,
        identity: Option<&Identity>,
        via: &Via,
    ) {
        out.clear();
        out.extend_from_slice(parts.method.as_str().as_bytes());
        out.push(b' ');
        let target = parts
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        out.extend_from_slice(target.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
        out.extend_from_slice(self.host(via));
        out.extend_from_slice(b"\r\n");
        self.write_theirs(out, &parts.headers);
        for (name, value) in identity.map_or(&[][..], |identity| &identity.headers) {
            write_line(out, name.as_str(), value);
        }
        forwarded::write(out, via);
        match framing {
            Framing::None => {}
            Framing::Length(length) => {
                // Writing into a Vec cannot fail.
                write!(out, "content-length: {length}\r\n").ok();
            }
            Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        }
        out.extend_from_slice(b"\r\n");
    }

    /// The headers of the client that may pass.
    fn write_theirs(&self, out: &mut Vec<u8>, headers: &HeaderMap) {
        let named = Named::of(headers);
        for (name, value) in headers {
            if self.strip.contains(name) || named.contains(name) {
                continue;
            }
            if *name == COOKIE {
                self.write_cookies(out, value);
            } else {
                write_line(out, name.as_str(), value);
            }
        }
    }

    fn write_cookies(&self, out: &mut Vec<u8>, value: &HeaderValue) {
        let start = out.len();
        out.extend_from_slice(b"cookie: ");
        match write_others(out, value.as_bytes(), &self.cookies) {
            Left::Some => out.extend_from_slice(b"\r\n"),
            Left::Nothing => out.truncate(start),
        }
    }

    fn host<'a>(&'a self, via: &'a Via) -> &'a [u8] {
        match &via.host {
            Some(host) if self.preserve_host && !host.is_empty() => host.as_bytes(),
            _ => &self.authority,
        }
    }
}

/// A name and a value cannot hold a line end: their types see to that.
fn write_line(out: &mut Vec<u8>, name: &str, value: &HeaderValue) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// What `Host` says when the client's is not kept. A Unix socket has no name of its own.
fn authority(upstream: &Address) -> Vec<u8> {
    match upstream {
        Address::Unix(_) => "localhost".to_owned(),
        Address::Tcp { host, port } => {
            let host = if host.contains(':') {
                format!("[{host}]")
            } else {
                host.clone()
            };
            match port {
                80 => host,
                port => format!("{host}:{port}"),
            }
        }
    }
    .into_bytes()
}
