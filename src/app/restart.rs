//! Which changes of the configuration need a restart, and what holds until there is one.
//!
//! A reload changes everything but what is here: addresses that are listened on, threads, the store,
//! who issues tokens and with what, and where the access log goes. The life and the leeway of access
//! tokens can be lowered, not raised: for how long the store remembers that a session has ended was
//! fixed at the start by what they were then.

use crate::audit::Settings as Audit;
use crate::config::Config;
use crate::server::settings::Settings as Server;
use crate::store::settings::Settings as Store;
use crate::tokens::settings::Settings as Tokens;

/// The configuration to work by: `new`, with what only a restart can change as it was at the start.
/// Also the keys of what stays behind.
///
/// Settings are taken apart without a rest, so that a new one has to be placed here: who adds it says
/// whether a reload can change it.
pub(super) fn held_back(started: &Config, mut new: Config) -> (Config, Vec<&'static str>) {
    let mut waiting = Vec::new();
    let mut hold = Hold(&mut waiting);
    hold.server(&started.server, &mut new.server);
    hold.store(&started.store, &mut new.store);
    hold.tokens(&started.tokens, &mut new.tokens);
    hold.audit(&started.audit, &mut new.audit);
    new.log.json = started.log.json;
    new.service.access_ttl = new.tokens.access_ttl;
    (new, waiting)
}

struct Hold<'a>(&'a mut Vec<&'static str>);

impl Hold<'_> {
    fn server(&mut self, was: &Server, new: &mut Server) {
        let Server {
            listen,
            admin,
            control,
            threads,
            access_log,
            json_logs,
            access_log_target,
            proxy_protocol,
            redirect_listen,
            tls,
            // In the workers' pipelines.
            trusted_proxies: _,
            header_timeout: _,
            hosts: _,
            paths: _,
            handshake_timeout: _,
            body_rate: _,
            client_subject_header: _,
            // Asked for before each look.
            tls_reload_interval: _,
            // Told to the doorman.
            max_connections: _,
            max_connections_per_address: _,
            // Read when the end begins.
            drain_delay: _,
            drain_timeout: _,
        } = new;
        self.back("server.listen", &was.listen, listen);
        self.back("server.threads", &was.threads, threads);
        self.back("server.control", &was.control, control);
        self.back("admin.listen", &was.admin, admin);
        let proxied = &was.proxy_protocol;
        self.back("server.proxy_protocol", proxied, proxy_protocol);
        let redirect = &was.redirect_listen;
        self.back("server.redirect_listen", redirect, redirect_listen);
        // Other files, names and authorities are taken; TLS itself stays on or off.
        if was.tls.is_some() != tls.is_some() {
            self.back("server.tls", &was.tls, tls);
        }
        self.back("log.access", &was.access_log, access_log);
        let target = &was.access_log_target;
        self.back("log.access_file", target, access_log_target);
        self.back("log.format", &was.json_logs, json_logs);
    }

    fn store(&mut self, was: &Store, new: &mut Store) {
        let Store {
            engine,
            deadline,
            // That of audit.keep.
            audit_life,
            // Follows from the tokens' lives, which are held to those of the start.
            revocation_life,
            // Only a start waits.
            lock_wait: _,
        } = new;
        self.back("store.url", &was.engine, engine);
        self.back("store.deadline", &was.deadline, deadline);
        audit_life.clone_from(&was.audit_life);
        revocation_life.clone_from(&was.revocation_life);
    }

    fn audit(&mut self, was: &Audit, new: &mut Audit) {
        let Audit {
            dir,
            keep,
            max_size,
            refreshes,
        } = new;
        self.back("audit.dir", &was.dir, dir);
        self.back("audit.keep", &was.keep, keep);
        self.back("audit.max_size", &was.max_size, max_size);
        self.back("audit.refreshes", &was.refreshes, refreshes);
    }

    fn tokens(&mut self, was: &Tokens, new: &mut Tokens) {
        let Tokens {
            issuer,
            algorithm,
            keys_dir,
            secret,
            access_ttl,
            leeway,
            // What was issued for another one is refused, as after a restart.
            audience: _,
        } = new;
        self.back("tokens.issuer", &was.issuer, issuer);
        self.back("tokens.algorithm", &was.algorithm, algorithm);
        self.back("tokens.keys_dir", &was.keys_dir, keys_dir);
        self.back("tokens.secret", &was.secret, secret);
        self.below("tokens.access_ttl", was.access_ttl, access_ttl);
        self.below("tokens.leeway", was.leeway, leeway);
    }

    /// Puts the value of the start back.
    fn back<T: PartialEq + Clone>(&mut self, key: &'static str, started: &T, new: &mut T) {
        if started != new {
            self.0.push(key);
            new.clone_from(started);
        }
    }

    /// Puts the value of the start back if the new one is larger.
    fn below<T: PartialOrd>(&mut self, key: &'static str, started: T, new: &mut T) {
        if *new > started {
            self.0.push(key);
            *new = started;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::config::{self, Sources};

    fn configured(text: &str) -> Config {
        let text = format!("upstream.url = \"http://127.0.0.1:1\"\n{text}");
        let sources = Sources {
            file: Some(("test.toml".into(), text)),
            env: Vec::new(),
            read: &|path| std::fs::read(path),
            cores: NonZeroUsize::MIN,
        };
        config::load(&sources).unwrap()
    }

    #[test]
    fn everything_that_a_reload_cannot_change_is_named_and_kept() {
        // Whose PROXY headers are believed can change, and is the same here.
        let trusted = "server.trusted_proxies = [\"10.0.0.0/8\"]\n";
        let secret = "tokens.algorithm = \"HS256\"\ntokens.secret = ";
        let started = configured(&format!(
            "{trusted}{secret}\"qEr8-first-secret-of-thirty-two-bytes\""
        ));
        let new = configured(&format!(
            "{trusted}server.proxy_protocol = true\nserver.redirect_listen = \"127.0.0.1:2\"\n\
             server.tls.cert = \"a\"\nserver.tls.key = \"b\"\n\
             server.listen = \"127.0.0.1:1\"\nserver.threads = 7\nserver.control = \"/tmp/other\"\n\
             admin.listen = \"\"\nlog.access = false\nlog.access_file = \"/tmp/log\"\n\
             log.format = \"json\"\nstore.url = \"memory:\"\nstore.deadline = \"3s\"\n\
             audit.keep = \"2d\"\naudit.max_size = \"1MiB\"\naudit.refreshes = true\ntokens.issuer = \"other\"\ntokens.keys_dir = \"/tmp/k\"\n\
             tokens.access_ttl = \"16m\"\ntokens.leeway = \"6s\"\n",
        ));
        let (held, waiting) = held_back(&started, new);
        let keys = "server.listen server.threads server.control admin.listen \
                    server.proxy_protocol server.redirect_listen server.tls log.access \
                    log.access_file log.format store.url store.deadline \
                    tokens.issuer tokens.algorithm tokens.keys_dir tokens.secret \
                    tokens.access_ttl tokens.leeway audit.dir audit.keep audit.max_size \
                    audit.refreshes";
        assert_eq!(waiting.join(" "), keys);
        assert_eq!(held.server, started.server);
        assert_eq!(held.tokens, started.tokens);
        assert_eq!(held.store, started.store);
        assert_eq!(held.audit, started.audit);
        assert_eq!(held.service, started.service);
        assert_eq!(held.log, started.log);
    }

    #[test]
    fn tls_stays_on_or_off_and_takes_other_files() {
        let plain = configured("");
        let first = configured("server.tls.cert = \"a\"\nserver.tls.key = \"b\"");
        let other = configured("server.tls.cert = \"c\"\nserver.tls.key = \"d\"");
        let (held, waiting) = held_back(&first, plain);
        assert_eq!(waiting, ["server.tls"]);
        assert_eq!(held.server.tls, first.server.tls);
        let (held, waiting) = held_back(&first, other.clone());
        assert_eq!(waiting, Vec::<&str>::new());
        assert_eq!(held.server.tls, other.server.tls);
    }

    #[test]
    fn what_a_reload_can_change_is_not_held_back() {
        let started = configured("");
        let new = configured(
            "server.hosts = [\"a.example\"]\nserver.max_connections = 7\nserver.drain_delay = \"1s\"\n\
             server.header_timeout = \"3s\"\nlog.level = \"debug\"\ntokens.access_ttl = \"1m\"\n\
             tokens.audience = [\"a\"]\ncookies.name_prefix = \"x\"\nlimits.login = \"1/h\"\n",
        );
        let wanted = format!(
            "{:?}",
            (&new.server, &new.tokens, &new.log, &new.api, &new.limits)
        );
        let (held, waiting) = held_back(&started, new);
        assert_eq!(waiting, Vec::<&str>::new());
        let got = format!(
            "{:?}",
            (
                &held.server,
                &held.tokens,
                &held.log,
                &held.api,
                &held.limits
            )
        );
        assert_eq!(got, wanted);
    }
}
