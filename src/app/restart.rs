//! Which changes of the configuration need a restart, and what holds until there is one.
//!
//! A reload changes everything but what is here: addresses that are listened on, threads, the store,
//! who issues tokens and with what, and where the access log goes. The life and the leeway of access
//! tokens can be lowered, not raised: for how long the store remembers that a session has ended was
//! fixed at the start by what they were then.

use crate::config::Config;

/// The configuration to work by: `new`, with what only a restart can change as it was at the start.
/// Also the keys of what stays behind.
pub(super) fn held_back(started: &Config, mut new: Config) -> (Config, Vec<&'static str>) {
    let mut waiting = Vec::new();
    let mut hold = Hold(&mut waiting);

    let (was, server) = (&started.server, &mut new.server);
    hold.back("server.listen", &was.listen, &mut server.listen);
    hold.back("server.threads", &was.threads, &mut server.threads);
    hold.back("server.control", &was.control, &mut server.control);
    hold.back("admin.listen", &was.admin, &mut server.admin);
    hold.back("log.access", &was.access_log, &mut server.access_log);
    let proxied = &mut server.proxy_protocol;
    hold.back("server.proxy_protocol", &was.proxy_protocol, proxied);
    let redirect = &mut server.redirect_listen;
    hold.back("server.redirect_listen", &was.redirect_listen, redirect);
    if was.tls.is_some() != server.tls.is_some() {
        hold.back("server.tls", &was.tls, &mut server.tls);
    }
    let target = &mut server.access_log_target;
    hold.back("log.access_file", &was.access_log_target, target);
    hold.back("log.format", &was.json_logs, &mut server.json_logs);
    new.log.json = started.log.json;

    let (was, store) = (&started.store, &mut new.store);
    hold.back("store.url", &was.engine, &mut store.engine);
    hold.back("store.deadline", &was.deadline, &mut store.deadline);
    hold.back("store.audit_life", &was.audit_life, &mut store.audit_life);
    store.revocation_life = was.revocation_life;
    store.lock_wait = was.lock_wait;

    let (was, tokens) = (&started.tokens, &mut new.tokens);
    hold.back("tokens.issuer", &was.issuer, &mut tokens.issuer);
    hold.back("tokens.algorithm", &was.algorithm, &mut tokens.algorithm);
    hold.back("tokens.keys_dir", &was.keys_dir, &mut tokens.keys_dir);
    hold.back("tokens.secret", &was.secret, &mut tokens.secret);
    hold.below("tokens.access_ttl", was.access_ttl, &mut tokens.access_ttl);
    hold.below("tokens.leeway", was.leeway, &mut tokens.leeway);
    new.service.access_ttl = tokens.access_ttl;
    (new, waiting)
}

struct Hold<'a>(&'a mut Vec<&'static str>);

impl Hold<'_> {
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
