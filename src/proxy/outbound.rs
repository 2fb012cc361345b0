//! The head of the request that the upstream reads.
//!
//! The order is the defence. First the names in `Connection` are collected; then each header of
//! the client is written unless it is hop-by-hop, named by `Connection`, or in the
//! [`StripSet`] (identity, forwarding, framing, in every spelling); then, and only then, ours are
//! written. So nothing the client sends can stand beside, replace or remove a header of ours.
//!
//! The order is written once, for both versions of HTTP: where the lines go is for [`Lines`] to know.
//! Over HTTP/1.1 the head goes straight from the client's header map into one reused buffer: no
//! header is copied on the heap, the map is not changed. The target is the client's, byte for byte.

use std::io::Write;

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;

use crate::guard::Identity;
use crate::proxy::cookies::write_others;
use crate::proxy::forwarded;
use crate::proxy::hop::Named;
use crate::proxy::lines::Lines;
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
        self.write_lines(out, &parts.headers, identity, via);
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

    /// All headers that do not depend on the version of HTTP, in the order that protects ours.
    pub(super) fn write_lines(
        &self,
        out: &mut impl Lines,
        headers: &HeaderMap,
        identity: Option<&Identity>,
        via: &Via,
    ) {
        self.write_theirs(out, headers);
        for (name, value) in identity.map_or(&[][..], |identity| &identity.headers) {
            out.line(name, value);
        }
        forwarded::write(out, via);
    }

    /// The headers of the client that may pass.
    fn write_theirs(&self, out: &mut impl Lines, headers: &HeaderMap) {
        let named = Named::of(headers);
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

    /// The upstream's own authority.
    pub(super) fn authority(&self) -> &[u8] {
        &self.authority
    }

    /// What the upstream is told of the host that was asked for.
    pub(super) fn host<'a>(&'a self, via: &'a Via) -> &'a [u8] {
        match &via.host {
            Some(host) if self.preserve_host && !host.is_empty() => host.as_bytes(),
            _ => &self.authority,
        }
    }
}

/// What `Host` says when the client's is not kept. A Unix socket has no name of its own.
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
