//! Which headers does the upstream receive, and in which order are they written?
//!
//! The order is the defence:
//!
//! 1. The names in the client's `Connection` lines are collected.
//! 2. Each header of the client is written, unless it is hop-by-hop, named by `Connection`, or in the
//!    [`StripSet`] (identity, forwarding, framing, in every spelling).
//! 3. The identity headers and the forwarding headers are written.
//!
//! So no header of the client can replace, remove or duplicate a header of the proxy.
//!
//! The order is the same for both versions of HTTP; a [`HeaderSink`] takes the lines. Over HTTP/1.1 they are
//! written from the client's header map into one reused buffer: no header is copied on the heap, and the map
//! is not changed. The target is the client's, byte for byte.

use std::io::Write;

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;

use crate::guard::Identity;
use crate::proxy::connection_names::ConnectionNames;
use crate::proxy::cookies::write_others;
use crate::proxy::forwarded;
use crate::proxy::header_sink::HeaderSink;
use crate::proxy::sender::Framing;
use crate::proxy::settings::{Address, Settings};
use crate::proxy::strip::StripSet;
use crate::proxy::via::Via;

/// Writes request heads according to the settings.
#[derive(Debug)]
pub(super) struct HeadWriter {
    pub(super) strip: StripSet,
    cookies: Vec<Vec<u8>>,
    /// The value of `Host` if the client's is not kept.
    authority: Vec<u8>,
    preserve_host: bool,
}

impl HeadWriter {
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

    /// Replaces the content of `out` with the head of the request.
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
        self.write_headers(out, &parts.headers, identity, via);
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

    /// Writes all headers that do not depend on the version of HTTP, in the order above.
    pub(super) fn write_headers(
        &self,
        out: &mut impl HeaderSink,
        headers: &HeaderMap,
        identity: Option<&Identity>,
        via: &Via,
    ) {
        self.write_theirs(out, headers);
        if let Some(identity) = identity {
            identity.each_header(|name, value| out.line(name, value));
        }
        forwarded::write(out, via);
    }

    /// Writes the headers of the client that may be forwarded.
    fn write_theirs(&self, out: &mut impl HeaderSink, headers: &HeaderMap) {
        let named = ConnectionNames::of(headers);
        for (name, value) in headers {
            if self.strip.contains(name) || named.contains(name) {
                continue;
            }
            if *name == COOKIE {
                out.made(b"cookie: ", |out| {
                    write_others(out, value.as_bytes(), &self.cookies)
                });
            } else {
                out.line(name, value);
            }
        }
    }

    /// The value of `Host` if the client's is not kept.
    pub(super) fn authority(&self) -> &[u8] {
        &self.authority
    }

    /// The host for the upstream.
    pub(super) fn host<'a>(&'a self, via: &'a Via) -> &'a [u8] {
        match &via.host {
            Some(host) if self.preserve_host && !host.is_empty() => host.as_bytes(),
            _ => &self.authority,
        }
    }
}

/// The value of `Host` if the client's is not kept. A Unix socket has no name of its own.
fn authority(upstream: &Address) -> Vec<u8> {
    let Some((scheme, host, port)) = upstream.parts() else {
        return b"localhost".to_vec();
    };
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    match (scheme, port) {
        ("http" | "h2c", 80) | ("https", 443) => host,
        _ => format!("{host}:{port}"),
    }
    .into_bytes()
}
