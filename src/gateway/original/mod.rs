//! Which request does a gateway ask about: method, host and target?
//!
//! Gateways state it in one of three ways: `X-Forwarded-Method`, `-Host` and `-Uri` (Traefik, Caddy);
//! `X-Original-Method` with `X-Original-URI` or the absolute `X-Original-URL` (nginx); or the check
//! request is the original one, its path below ours (Envoy). A client's own headers arrive together
//! with the gateway's, so nothing is guessed: each header occurs once, a way is complete, and all
//! statements agree. Everything else is refused.

pub mod fuzz;
pub mod gateways;
#[cfg(test)]
mod tests;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method};

use crate::gateway::admit::Admission;
use crate::gateway::bad_request::{BadRequest, Unclear};
use crate::gateway::host::Host;
use crate::types::header::at_most_once;

/// The parts of a check request that can describe the original one.
#[derive(Debug, Clone, Copy)]
pub struct Check<'a> {
    /// The check's own method.
    pub method: &'a Method,
    /// The check's own host.
    pub host: &'a Host,
    /// The part of the check's target after our route, with its query; empty if there is none.
    pub below: &'a str,
    /// The check's headers.
    pub headers: &'a HeaderMap,
}

/// The request that is asked about. Its target is not clean yet.
#[derive(Debug, Clone)]
pub struct Original {
    /// Its method, one that is served.
    pub method: Method,
    /// Its host, one of ours.
    pub host: Host,
    /// Its target, query included.
    pub target: PathAndQuery,
}

impl<'a> Check<'a> {
    /// The original request, if the statements about it have exactly one reading.
    pub fn original(&self, admission: &Admission) -> Result<Original, BadRequest> {
        let (method, target, host) = self.stated(admission)?;
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| BadRequest::Method)?;
        if !admission.methods.contains(&method) {
            return Err(BadRequest::Method);
        }
        // A target that Sidegate does not accept is not accepted from a gateway either.
        let read = PathAndQuery::try_from(target).map_err(|_| BadRequest::Target)?;
        if read.as_str() != target {
            return Err(BadRequest::Target);
        }
        Ok(Original {
            method,
            host,
            target: read,
        })
    }

    fn stated(&self, admission: &Admission) -> Result<(&'a str, &'a str, Host), BadRequest> {
        let mut methods = Agreed::default();
        let mut targets = Agreed::default();
        let mut hosts = Agreed::default();
        let forwarded = Statement::read(self.headers, "x-forwarded-method", "x-forwarded-uri")?;
        let original = Statement::read(self.headers, "x-original-method", "x-original-uri")?;
        let url = once(self.headers, "x-original-url")?.map(split_url);
        let url = url.transpose()?;
        for statement in [forwarded, original] {
            statement
                .method
                .map_or(Ok(()), |value| methods.add(value))?;
            statement
                .target
                .map_or(Ok(()), |value| targets.add(value))?;
        }
        if let Some((authority, target)) = url {
            targets.add(target)?;
            let value = HeaderValue::from_str(authority).map_err(|_| Unclear::Malformed)?;
            hosts.add(admission.hosts.host_of(value)?)?;
        }
        if !self.below.is_empty() {
            methods.add(self.method.as_str())?;
            targets.add(self.below)?;
        }
        let forwarded_host = once(self.headers, "x-forwarded-host")?;
        if let Some(value) = forwarded_host {
            let value = HeaderValue::from_str(value).map_err(|_| Unclear::Malformed)?;
            hosts.add(admission.hosts.host_of(value)?)?;
        }
        if !self.below.is_empty() || (original.target.is_some() && url.is_none()) {
            hosts.add(self.host.clone())?;
        }
        let has_original_target = original.target.is_some() || url.is_some();
        let incomplete = [
            forwarded.method.is_some() != forwarded.target.is_some(),
            original.method.is_some() != has_original_target,
            forwarded.target.is_some() && forwarded_host.is_none(),
        ];
        match (methods.value, targets.value, hosts.value) {
            (None, None, _) => Err(Unclear::Missing.into()),
            (Some(method), Some(target), Some(host)) if !incomplete.contains(&true) => {
                Ok((method, target, host))
            }
            _ => Err(Unclear::Incomplete.into()),
        }
    }
}

/// The method and the target that one way states.
#[derive(Debug, Clone, Copy)]
struct Statement<'a> {
    method: Option<&'a str>,
    target: Option<&'a str>,
}

impl<'a> Statement<'a> {
    fn read(headers: &'a HeaderMap, method: &str, target: &str) -> Result<Self, Unclear> {
        Ok(Self {
            method: once(headers, method)?,
            target: once(headers, target)?,
        })
    }
}

/// A fact that may be stated more than once, with the same value.
#[derive(Debug)]
struct Agreed<T> {
    value: Option<T>,
}

impl<T> Default for Agreed<T> {
    fn default() -> Self {
        Self { value: None }
    }
}

impl<T: PartialEq> Agreed<T> {
    fn add(&mut self, value: T) -> Result<(), Unclear> {
        match &self.value {
            Some(before) if *before != value => Err(Unclear::Disagree),
            Some(_) => Ok(()),
            None => {
                self.value = Some(value);
                Ok(())
            }
        }
    }
}

/// The value of a header that occurs at most once.
fn once<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Unclear> {
    let value = at_most_once(headers, name).map_err(|_| Unclear::Twice)?;
    let text = value.map(|value| std::str::from_utf8(value.as_bytes()));
    text.transpose().map_err(|_| Unclear::Malformed)
}

/// Authority and target of an absolute `http` or `https` URL.
fn split_url(url: &str) -> Result<(&str, &str), Unclear> {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))
        .ok_or(Unclear::Malformed)?;
    rest.find('/')
        .and_then(|at| rest.split_at_checked(at))
        .ok_or(Unclear::Malformed)
}
