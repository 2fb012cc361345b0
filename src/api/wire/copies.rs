//! Which copies of our cookies does a browser have besides the one that we set? Copies exist for this
//! host, for a domain above it, or under the name of another configuration. They come from an earlier
//! `cookies.domain`, from a time before https, or from a neighbouring host. A log-in and a log-out
//! remove those that this host can reach: a host may set cookies for its own name and for the domains
//! above it.
//!
//! Only names that the request sent are removed, so an ordinary log-in is not affected.

use http::HeaderMap;

use crate::api::settings::{Cookies, HOST_PREFIX, other_name};
use crate::api::wire::cookie::{clear, clear_at};
use crate::guard::extract;

/// Which copies may exist.
#[derive(Debug)]
pub struct Copies {
    access: Names,
    refresh: Names,
    device: Names,
    /// The domains that this host may set cookies for.
    domains: Vec<String>,
}

/// One cookie's names.
#[derive(Debug)]
struct Names {
    name: String,
    is_sent: bool,
    /// Its name in another configuration.
    other: String,
    other_is_sent: bool,
}

impl Copies {
    /// From the cookies that a browser sent to this host.
    pub fn sent(headers: &HeaderMap, cookies: &Cookies, host: &str) -> Self {
        Self {
            access: Names::sent(headers, &cookies.access),
            refresh: Names::sent(headers, &cookies.refresh),
            device: Names::sent(headers, &cookies.device),
            domains: domains(host, cookies.domain.as_deref()),
        }
    }

    /// For an answer that sets our cookies: removes all others. To be called before they are set.
    pub fn remove_others(&self, headers: &mut HeaderMap, cookies: &Cookies) {
        for names in [&self.access, &self.refresh, &self.device] {
            self.remove(names, headers, cookies);
        }
    }

    /// For an answer that removes our tokens: removes all of them. The device keeps its id.
    pub fn remove_tokens(&self, headers: &mut HeaderMap, cookies: &Cookies) {
        for names in [&self.access, &self.refresh] {
            self.remove(names, headers, cookies);
            clear(headers, cookies, &names.name);
        }
    }

    /// Removes the copies of one cookie but the one that we would set.
    fn remove(&self, names: &Names, headers: &mut HeaderMap, cookies: &Cookies) {
        let ours = cookies.domain.as_deref();
        for (name, is_ours) in names.sent_names() {
            let is_bound = name.starts_with(HOST_PREFIX);
            let domains = self.domains.iter().filter(|_| !is_bound);
            let scopes = domains.map(|domain| Some(domain.as_str()));
            for scope in [None].into_iter().chain(scopes) {
                if !(is_ours && scope == ours) {
                    clear_at(headers, cookies, name, scope);
                }
            }
        }
    }
}

impl Names {
    fn sent(headers: &HeaderMap, name: &str) -> Self {
        let other = other_name(name);
        // If there are too many to check, copies certainly exist.
        let is_sent =
            |name: &str| extract::copies(headers, name).map_or(true, |copies| !copies.is_empty());
        Self {
            is_sent: is_sent(name),
            name: name.to_owned(),
            other_is_sent: is_sent(&other),
            other,
        }
    }

    /// Each name that was sent, and whether it is the one in use.
    fn sent_names(&self) -> impl Iterator<Item = (&str, bool)> {
        let ours = self.is_sent.then_some((self.name.as_str(), true));
        let other = self.other_is_sent.then_some((self.other.as_str(), false));
        ours.into_iter().chain(other)
    }
}

/// The domains that a host may set cookies for: its own name and those above it, down to two labels
/// (browsers refuse what is a public suffix), and the configured one.
fn domains(host: &str, configured: Option<&str>) -> Vec<String> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let mut domains: Vec<String> = configured.map(str::to_owned).into_iter().collect();
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    let is_address = host
        .rsplit('.')
        .next()
        .is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
    if host.len() > MAX_HOST || !host.bytes().all(is_name) || is_address {
        return domains;
    }
    let mut rest = host;
    let mut above = Vec::new();
    while rest.contains('.') {
        above.push(rest.to_owned());
        rest = rest.split_once('.').map_or("", |(_, above)| above);
    }
    let most = above.len().saturating_sub(MAX_DOMAINS);
    for domain in above.split_off(most) {
        if !domains.contains(&domain) {
            domains.push(domain);
        }
    }
    domains
}

/// The longest name a host can have (RFC 1035, 2.3.4).
const MAX_HOST: usize = 253;

/// The most domains that are tried, the widest ones.
const MAX_DOMAINS: usize = 6;

#[cfg(test)]
mod tests {
    use http::header::{COOKIE, SET_COOKIE};

    use super::*;

    fn cookies(prefix: &str, domain: Option<&str>) -> Cookies {
        Cookies {
            access: format!("{prefix}sg_access"),
            refresh: format!("{prefix}sg_refresh"),
            device: format!("{prefix}sg_device"),
            secure: !prefix.is_empty(),
            same_site: "Lax",
            domain: domain.map(str::to_owned),
        }
    }

    fn removed(sent: &str, host: &str, cookies: &Cookies, act: Act) -> Vec<String> {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, sent.parse().unwrap());
        let copies = Copies::sent(&headers, cookies, host);
        let mut answer = HeaderMap::new();
        match act {
            Act::LogIn => copies.remove_others(&mut answer, cookies),
            Act::LogOut => copies.remove_tokens(&mut answer, cookies),
        }
        let lines = answer.get_all(SET_COOKIE).iter();
        lines
            .map(|line| {
                let line = line.to_str().unwrap();
                assert!(line.contains("=; Path=/; Max-Age=0"), "{line}");
                let name = line.split('=').next().unwrap();
                let domain = line.split_once("Domain=").map_or("", |(_, domain)| domain);
                format!("{name}@{domain}")
            })
            .collect()
    }

    #[derive(Clone, Copy)]
    enum Act {
        LogIn,
        LogOut,
    }

    #[test]
    fn a_log_in_without_cookies_removes_nothing() {
        let plain = cookies("", None);
        assert_eq!(removed("a=1", "a.example.org", &plain, Act::LogIn), [""; 0]);
    }

    #[test]
    fn a_log_in_removes_the_copies_of_every_domain_but_the_one_in_use() {
        let own = cookies("", None);
        assert_eq!(
            removed("sg_access=x", "a.example.org", &own, Act::LogIn),
            ["sg_access@a.example.org", "sg_access@example.org"]
        );
        let shared = cookies("", Some("example.org"));
        assert_eq!(
            removed("sg_device=x", "a.example.org", &shared, Act::LogIn),
            ["sg_device@", "sg_device@a.example.org"]
        );
        let bound = cookies("__Host-", None);
        assert_eq!(
            removed(
                "__Host-sg_access=x; sg_access=y",
                "example.org",
                &bound,
                Act::LogIn
            ),
            ["sg_access@", "sg_access@example.org"]
        );
        assert_eq!(
            removed("__Host-sg_access=x", "b.example.org", &shared, Act::LogIn),
            ["__Host-sg_access@"]
        );
    }

    #[test]
    fn a_log_out_also_removes_the_current_cookies_and_keeps_the_device_id() {
        let own = cookies("", None);
        assert_eq!(
            removed("sg_access=x; sg_device=y", "127.0.0.1", &own, Act::LogOut),
            ["sg_access@", "sg_refresh@"]
        );
        assert_eq!(
            removed("sg_refresh=\"", "example.org", &own, Act::LogOut),
            ["sg_access@", "sg_refresh@example.org", "sg_refresh@"]
        );
    }

    #[test]
    fn a_host_has_only_its_parent_domains() {
        assert_eq!(domains("localhost", None), [""; 0]);
        assert_eq!(domains("[::1]", None), [""; 0]);
        assert_eq!(domains("10.0.0.1", Some("example.org")), ["example.org"]);
        assert_eq!(domains("a;b.example.org", None), [""; 0]);
        assert_eq!(domains("example.org.", None), ["example.org"]);
        let deep = domains("a.b.c.d.e.f.g.h.i.j", None);
        assert_eq!(deep.len(), MAX_DOMAINS);
        assert_eq!(deep.last().map(String::as_str), Some("i.j"));
    }
}
