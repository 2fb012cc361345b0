//! What a gateway says about the request it asks about: method, host and target.
//!
//! Gateways say it in one of three ways: `X-Forwarded-Method`, `-Host` and `-Uri` (Traefik, Caddy);
//! `X-Original-Method` with `X-Original-URI` or the absolute `X-Original-URL` (nginx); or the check
//! request is the original one, its path below ours (Envoy). A client's own headers come along with
//! the gateway's, so nothing is guessed: each header occurs once, a way is followed to its end, and
//! all that is said agrees. Everything else is refused.

pub mod fuzz;
pub mod gateways;
#[cfg(test)]
mod tests;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method};

use crate::server::intake::{BadRequest, Host, Intake};

/// A check request, as far as it tells of the original one.
#[derive(Debug, Clone, Copy)]
pub struct Check<'a> {
    /// The check's own method.
    pub method: &'a Method,
    /// The check's own host.
    pub host: &'a Host,
    /// What follows our route in the check's target, with its query; empty when nothing does.
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

/// Why nobody can tell what a gateway asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    /// No word about it.
    #[error("a trusted proxy that asks must say which method, host and target it asks about")]
    Unsaid,
    /// A method without a target, a target without a method, or no host.
    #[error("the original request is told in part only: method, host and target belong together")]
    Incomplete,
    /// One of the headers twice.
    #[error("the original request is told twice in one header")]
    Twice,
    /// Two headers that say different things.
    #[error("the headers about the original request contradict each other")]
    Disagree,
    /// A header that holds nothing of its kind.
    #[error("a header about the original request is malformed")]
    Malformed,
}

impl From<Unclear> for BadRequest {
    fn from(unclear: Unclear) -> Self {
        Self::Original(unclear)
    }
}

impl<'a> Check<'a> {
    /// The original request, if there is exactly one reading of what is said about it.
    pub fn original(&self, intake: &Intake) -> Result<Original, BadRequest> {
        let (method, target, host) = self.story(intake)?;
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| BadRequest::Method)?;
        if !intake.methods.contains(&method) {
            return Err(BadRequest::Method);
        }
        // What is no target of a request here may not be one behind a gateway either.
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

    fn story(&self, intake: &Intake) -> Result<(&'a str, &'a str, Host), BadRequest> {
        let mut methods = Agreed::default();
        let mut targets = Agreed::default();
        let mut hosts = Agreed::default();
        let forwarded = Words::read(self.headers, "x-forwarded-method", "x-forwarded-uri")?;
        let original = Words::read(self.headers, "x-original-method", "x-original-uri")?;
        let url = once(self.headers, "x-original-url")?.map(split_url);
        let url = url.transpose()?;
        for words in [forwarded, original] {
            words.method.map_or(Ok(()), |said| methods.add(said))?;
            words.target.map_or(Ok(()), |said| targets.add(said))?;
        }
        if let Some((authority, target)) = url {
            targets.add(target)?;
            let value = HeaderValue::from_str(authority).map_err(|_| Unclear::Malformed)?;
            hosts.add(intake.hosts.host_of(value)?)?;
        }
        if !self.below.is_empty() {
            methods.add(self.method.as_str())?;
            targets.add(self.below)?;
        }
        let forwarded_host = once(self.headers, "x-forwarded-host")?;
        if let Some(said) = forwarded_host {
            let value = HeaderValue::from_str(said).map_err(|_| Unclear::Malformed)?;
            hosts.add(intake.hosts.host_of(value)?)?;
        }
        if !self.below.is_empty() || (original.target.is_some() && url.is_none()) {
            hosts.add(self.host.clone())?;
        }
        let original_told = original.target.is_some() || url.is_some();
        let halves = [
            forwarded.method.is_some() != forwarded.target.is_some(),
            original.method.is_some() != original_told,
            forwarded.target.is_some() && forwarded_host.is_none(),
        ];
        match (methods.said, targets.said, hosts.said) {
            (None, None, _) => Err(Unclear::Unsaid.into()),
            (Some(method), Some(target), Some(host)) if !halves.contains(&true) => {
                Ok((method, target, host))
            }
            _ => Err(Unclear::Incomplete.into()),
        }
    }
}

/// The method and the target of one way.
#[derive(Debug, Clone, Copy)]
struct Words<'a> {
    method: Option<&'a str>,
    target: Option<&'a str>,
}

impl<'a> Words<'a> {
    fn read(headers: &'a HeaderMap, method: &str, target: &str) -> Result<Self, Unclear> {
        Ok(Self {
            method: once(headers, method)?,
            target: once(headers, target)?,
        })
    }
}

/// A fact that may be told more than once, and then the same.
#[derive(Debug)]
struct Agreed<T> {
    said: Option<T>,
}

impl<T> Default for Agreed<T> {
    fn default() -> Self {
        Self { said: None }
    }
}

impl<T: PartialEq> Agreed<T> {
    fn add(&mut self, said: T) -> Result<(), Unclear> {
        match &self.said {
            Some(before) if *before != said => Err(Unclear::Disagree),
            Some(_) => Ok(()),
            None => {
                self.said = Some(said);
                Ok(())
            }
        }
    }
}

/// The value of a header that occurs at most once.
fn once<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Unclear> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => std::str::from_utf8(value.as_bytes())
            .map(Some)
            .map_err(|_| Unclear::Malformed),
        (Some(_), Some(_)) => Err(Unclear::Twice),
    }
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
