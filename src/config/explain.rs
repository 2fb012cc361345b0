//! Which configuration is in force, as text? The output of `sidegate check`.
//!
//! It is made from the settings that the parts are built with, so it cannot differ from them.

use std::fmt;

use serde::Serialize;

use crate::api::settings::{Delivery, Mount};
use crate::config::Config;
use crate::guard::settings::{Preset, Settings as Guard};
use crate::net::settings::Listen;
use crate::policy::settings::{Access, Rule, Storage};
use crate::proxy::settings::Address;
use crate::service::settings::SignupMode;
use crate::store::settings::Engine;
use crate::tls::settings::{self as tls, ClientAuth};
use crate::types::duration::{show_duration, show_size};
use crate::types::role::Role;

/// The explanation. `Display` is the text for people, the serialized form is for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    listener: String,
    admin: String,
    control: String,
    trusted_proxies: Vec<String>,
    upstream: String,
    store: String,
    tokens: String,
    sessions: String,
    cookies: String,
    signup: String,
    mail: String,
    mounts: Vec<MountWords>,
    rules: Vec<RuleWords>,
    otherwise: String,
    identity_headers: Vec<String>,
    dangers: Vec<String>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct MountWords {
    prefix: String,
    dialect: &'static str,
    meaning: String,
}

#[derive(Debug, Serialize)]
struct RuleWords {
    path: String,
    methods: Vec<String>,
    host: String,
    meaning: String,
}

impl Explanation {
    /// Explains a configuration.
    pub fn of(config: &Config) -> Self {
        Self {
            listener: listener(config),
            admin: config
                .server
                .admin
                .map_or_else(|| "off".to_owned(), |address| format!("http://{address}")),
            control: config.server.control.as_ref().map_or_else(
                || "off: drain, reload and healthcheck cannot reach the server".to_owned(),
                |path| path.display().to_string(),
            ),
            trusted_proxies: config
                .trusted_networks
                .iter()
                .map(ToString::to_string)
                .collect(),
            upstream: upstream(config),
            store: store(&config.store.engine),
            tokens: tokens(config),
            sessions: sessions(config),
            cookies: cookies(config),
            signup: signup(config),
            mail: (config.mail.as_ref())
                .map_or_else(|| "off".to_owned(), |mail| mail.transport.to_string()),
            mounts: config.api.mounts.iter().map(mount).collect(),
            rules: config.policy.rules.iter().map(rule).collect(),
            otherwise: access(config.policy.default, &[])
                + stored(config.policy.default, config.policy.storage),
            identity_headers: identity_headers(&config.guard),
            dangers: config.dangers.clone(),
            warnings: config.warnings.clone(),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trusted = if self.trusted_proxies.is_empty() {
            "none: forwarding headers of callers are dropped".to_owned()
        } else {
            self.trusted_proxies.join(", ")
        };
        let pairs = [
            ("listener", self.listener.clone()),
            ("trusted proxies", trusted),
            ("admin", self.admin.clone()),
            ("control socket", self.control.clone()),
            ("upstream", self.upstream.clone()),
            ("store", self.store.clone()),
            ("tokens", self.tokens.clone()),
            ("sessions", self.sessions.clone()),
            ("cookies", self.cookies.clone()),
            ("sign-up", self.signup.clone()),
            ("mail", self.mail.clone()),
        ];
        for (name, value) in pairs {
            writeln!(f, "{name:15}  {value}")?;
        }
        f.write_str("\nanswered by Sidegate itself:")?;
        for mount in &self.mounts {
            write!(
                f,
                "\n  {}/*  dialect {}, {}",
                mount.prefix, mount.dialect, mount.meaning
            )?;
        }
        f.write_str("\n\nall other requests, first match wins:")?;
        for (index, rule) in self.rules.iter().enumerate() {
            write!(f, "\n  {}. {}", index + 1, rule.summary())?;
        }
        write!(f, "\n  otherwise: {}", self.otherwise)?;
        list(
            f,
            "identity headers to the upstream",
            &self.identity_headers,
        )?;
        list(f, "DANGER", &self.dangers)?;
        list(f, "warnings", &self.warnings)
    }
}

impl RuleWords {
    fn summary(&self) -> String {
        let methods = if self.methods.is_empty() {
            "any method".to_owned()
        } else {
            self.methods.join(", ")
        };
        let host = if self.host.is_empty() {
            String::new()
        } else {
            format!(" on host {}", self.host)
        };
        format!("{methods} {}{host}: {}", self.path, self.meaning)
    }
}

fn list(f: &mut fmt::Formatter<'_>, heading: &str, lines: &[String]) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    write!(f, "\n\n{heading}:")?;
    for line in lines {
        write!(f, "\n  {line}")?;
    }
    Ok(())
}

fn listener(config: &Config) -> String {
    let server = &config.server;
    let place = match &server.listen {
        Listen::Tcp(address) if server.tls.is_some() => format!("https://{address}"),
        Listen::Tcp(address) => format!("http://{address}"),
        Listen::Unix(path) => format!("unix:{}", path.display()),
    };
    let threads = match server.threads {
        1 => "1 thread".to_owned(),
        n => format!("{n} threads"),
    };
    let hosts = if server.hosts.is_empty() {
        "any host name".to_owned()
    } else {
        format!("for {}", server.hosts.join(", "))
    };
    let mut words = format!("{place}, {threads}, {hosts}");
    if let Some(tls) = &server.tls {
        words.push_str(&certificates(tls, server.client_subject_header.as_ref()));
    }
    if server.proxy_protocol {
        words.push_str(", a PROXY header from trusted proxies");
    }
    if let Some(address) = server.redirect_listen {
        words = format!("{words}; {address} redirects there");
    }
    words
}

fn certificates(tls: &tls::Settings, subject: Option<&http::HeaderName>) -> String {
    let own = match tls.pairs.len() {
        1 => "one certificate".to_owned(),
        n => format!("{n} certificates by name"),
    };
    let theirs = match tls.client_auth {
        ClientAuth::Off => "",
        ClientAuth::Optional { .. } => ", clients may have one",
        ClientAuth::Required { .. } => ", clients must have one",
    };
    let subject = subject.map_or_else(String::new, |name| format!(", subject in {name}"));
    format!(", {own}{theirs}{subject}")
}

fn upstream(config: &Config) -> String {
    let proxy = &config.proxy;
    let place = &proxy.upstream;
    let speech = match place {
        Address::Tcp { .. } | Address::Unix(_) => String::new(),
        Address::H2c { .. } => ", HTTP/2".to_owned(),
        Address::Tls { host, tls, .. } => {
            let roots = tls.ca.as_ref().map_or_else(
                || "the system's roots".to_owned(),
                |path| path.display().to_string(),
            );
            let name = tls.server_name.as_ref().unwrap_or(host);
            format!(", HTTP/2 or HTTP/1.1, must have a certificate for {name} from {roots}")
        }
    };
    let host = if proxy.preserve_host {
        "receives the Host of the request"
    } else {
        "receives its own Host"
    };
    let patience = if proxy.response_timeout.is_zero() {
        "has no time limit to answer".to_owned()
    } else {
        format!("has {} to answer", show_duration(proxy.response_timeout))
    };
    format!("{place}{speech}, {host}, {patience}")
}

fn store(engine: &Engine) -> String {
    match engine {
        Engine::Memory => "in memory, lost when the process ends".to_owned(),
        Engine::Sled { path, cache } => {
            format!("sled in {}, cache {}", path.display(), show_size(*cache))
        }
    }
}

fn tokens(config: &Config) -> String {
    let tokens = &config.tokens;
    format!(
        "{}, issuer {}, access tokens live {}",
        tokens.algorithm.as_str(),
        tokens.issuer,
        show_duration(tokens.access_ttl)
    )
}

fn sessions(config: &Config) -> String {
    let limits = &config.service.sessions;
    let idle = if limits.idle.is_zero() {
        "no idle limit".to_owned()
    } else {
        format!("{} idle", show_duration(limits.idle))
    };
    format!(
        "{} at most, {idle}, {} when remembered, {} for each user",
        show_duration(limits.lifetime),
        show_duration(limits.remembered),
        config.service.cap.max
    )
}

fn cookies(config: &Config) -> String {
    let cookies = &config.api.cookies;
    let secure = if cookies.secure {
        "Secure"
    } else {
        "not Secure"
    };
    format!(
        "{}, {}, {}; {secure}, SameSite={}",
        cookies.access, cookies.refresh, cookies.device, cookies.same_site
    )
}

fn signup(config: &Config) -> String {
    match config.service.signup {
        SignupMode::Closed => "closed: the operator adds accounts".to_owned(),
        SignupMode::Open => {
            let roles: Vec<&str> = config
                .service
                .signup_roles
                .iter()
                .map(Role::as_str)
                .collect();
            format!("open to everybody, with roles: {}", roles.join(", "))
        }
    }
}

fn mount(mount: &Mount) -> MountWords {
    let delivery = match mount.delivery {
        Delivery::Json => "tokens in the body",
        Delivery::Cookies => "tokens in cookies",
        Delivery::Hybrid => "access token in the body, refresh token in a cookie",
    };
    let origins = if mount.allowed_origins.is_empty() {
        "no other origin may call".to_owned()
    } else {
        let origins: Vec<String> = mount
            .allowed_origins
            .iter()
            .map(ToString::to_string)
            .collect();
        format!("may be called from {}", origins.join(", "))
    };
    let renewed = if mount.verify_renews {
        ", also renewed by GET /auth/verify"
    } else {
        ""
    };
    MountWords {
        prefix: mount.prefix.clone(),
        dialect: mount.dialect.as_str(),
        meaning: format!("{delivery}{renewed}, {origins}"),
    }
}

fn rule(rule: &Rule) -> RuleWords {
    RuleWords {
        path: rule.path.clone(),
        methods: rule.methods.clone(),
        host: rule.host.clone(),
        meaning: access(rule.access, &rule.roles) + stored(rule.access, rule.storage),
    }
}

fn access(access: Access, roles: &[Role]) -> String {
    let roles: Vec<&str> = roles.iter().map(Role::as_str).collect();
    match (access, roles.as_slice()) {
        (Access::Public, _) => "everybody; tokens are ignored".to_owned(),
        (Access::Optional, _) => {
            "everybody; logged-in users are identified to the upstream, a bad token is refused"
                .to_owned()
        }
        (Access::Deny, _) => "nobody".to_owned(),
        (Access::User, []) => "logged-in users".to_owned(),
        (Access::User, [one]) => format!("logged-in users with the role {one}"),
        (Access::User, many) => {
            format!("logged-in users with one of the roles {}", many.join(", "))
        }
    }
}

/// Shown only where the response depends on the user and the setting is not the default.
fn stored(access: Access, storage: Storage) -> &'static str {
    match (access, storage) {
        (Access::User | Access::Optional, Storage::Application) => {
            "; shared caches may store responses as the application states"
        }
        _ => "",
    }
}

fn identity_headers(guard: &Guard) -> Vec<String> {
    let mut lines = match &guard.headers {
        Preset::Named(name) if name == "native" => [
            "X-User-Id",
            "X-User-Name",
            "X-User-Email",
            "X-User-Role",
            "X-Tenant-Id",
            "X-Session-Id",
            "X-Auth-Method",
        ]
        .map(str::to_owned)
        .to_vec(),
        Preset::Named(name) => vec![format!("the headers of the preset {name}")],
        Preset::Custom(map) => map
            .iter()
            .map(|(claim, header)| format!("{header} = {claim}"))
            .collect(),
    };
    if let Some(audience) = &guard.assertion {
        lines.push(format!("X-Sidegate-Assertion, signed for {audience}"));
    }
    lines
}
