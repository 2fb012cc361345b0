//! Which changes of the configuration does a reload leave to the next restart?
//!
//! The declaration of each key states that (`config::keys`, `Reload`). Here each such setting is
//! compared with its value at the start, and put back where they differ. The life and the leeway of
//! access tokens can be lowered and not raised: the time for which the store remembers the end of a
//! session was fixed by their values at the start.

use crate::audit::Settings as Audit;
use crate::config::Config;
use crate::config::key::{Key, Reload};
use crate::config::keys::{admin, audit, log, mail, server, store, tokens};
use crate::process::settings::Settings as Server;
use crate::store::settings::Settings as Store;
use crate::tokens::settings::Settings as Tokens;

/// Returns `new`, except that settings that only a restart can change have their values from the start. Also
/// returns the keys whose new values wait for a restart.
///
/// The settings are destructured without `..`, so that a new setting does not compile until it is added here.
pub(crate) fn held_back(started: &Config, mut new: Config) -> (Config, Vec<&'static str>) {
    let mut waiting = Vec::new();
    let mut hold = Hold(&mut waiting);
    hold.server(&started.server, &mut new.server);
    hold.store(&started.store, &mut new.store);
    hold.tokens(&started.tokens, &mut new.tokens);
    hold.audit(&started.audit, &mut new.audit);
    if new.mail != started.mail {
        let Config { mail, service, .. } = &mut new;
        hold.keep(mail::MAIL.path, mail::MAIL.reload, &started.mail, mail);
        service.mail = started.service.mail;
    }
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
            // Read before each comparison of the files.
            tls_reload_interval: _,
            // Passed to the connection limiter.
            max_connections: _,
            max_connections_per_address: _,
            // Read when the process begins to stop.
            drain_delay: _,
            drain_timeout: _,
        } = new;
        self.value(&server::LISTEN, &was.listen, listen);
        self.value(&server::THREADS, &was.threads, threads);
        self.value(&server::CONTROL, &was.control, control);
        self.value(&admin::LISTEN, &was.admin, admin);
        self.value(&server::PROXY_PROTOCOL, &was.proxy_protocol, proxy_protocol);
        self.value(
            &server::REDIRECT_LISTEN,
            &was.redirect_listen,
            redirect_listen,
        );
        // Other files, names and authorities take effect; TLS itself stays on or off.
        if was.tls.is_some() != tls.is_some() {
            self.keep(server::TLS.path, server::TLS.reload, &was.tls, tls);
        }
        self.value(&log::ACCESS, &was.access_log, access_log);
        self.value(&log::ACCESS_FILE, &was.access_log_target, access_log_target);
        self.value(&log::FORMAT, &was.json_logs, json_logs);
    }

    fn store(&mut self, was: &Store, new: &mut Store) {
        let Store {
            engine,
            deadline,
            // That of audit.keep.
            audit_life,
            // Follows from the tokens' lives, which are not above those of the start.
            revocation_life,
            // Used only by a start.
            lock_wait: _,
        } = new;
        // With `store.cache`.
        self.value(&store::URL, &was.engine, engine);
        self.value(&store::DEADLINE, &was.deadline, deadline);
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
        self.value(&audit::DIR, &was.dir, dir);
        self.value(&audit::KEEP, &was.keep, keep);
        self.value(&audit::MAX_SIZE, &was.max_size, max_size);
        self.value(&audit::REFRESHES, &was.refreshes, refreshes);
    }

    fn tokens(&mut self, was: &Tokens, new: &mut Tokens) {
        let Tokens {
            issuer,
            algorithm,
            keys_dir,
            secret,
            access_ttl,
            leeway,
            // A token issued for another audience is refused, as after a restart.
            audience: _,
        } = new;
        self.value(&tokens::ISSUER, &was.issuer, issuer);
        self.value(&tokens::ALGORITHM, &was.algorithm, algorithm);
        self.value(&tokens::KEYS_DIR, &was.keys_dir, keys_dir);
        // From `tokens.secret_file` as well.
        self.value(&tokens::SECRET, &was.secret, secret);
        self.quantity(&tokens::ACCESS_TTL, &was.access_ttl, access_ttl);
        self.quantity(&tokens::LEEWAY, &was.leeway, leeway);
    }

    /// Treats a value as its key's declaration states.
    fn value<K, T>(&mut self, key: &Key<K>, started: &T, new: &mut T)
    where
        T: PartialEq + Clone,
    {
        self.keep(key.path(), key.declaration.reload, started, new);
    }

    /// The same for a quantity, which may be one that can be lowered.
    fn quantity<K, T>(&mut self, key: &Key<K>, started: &T, new: &mut T)
    where
        T: PartialOrd + Clone,
    {
        if key.declaration.reload == Reload::Lowered && *new > *started {
            self.keep(key.path(), Reload::Restart, started, new);
        } else {
            self.value(key, started, new);
        }
    }

    fn keep<T>(&mut self, path: &'static str, reload: Reload, started: &T, new: &mut T)
    where
        T: PartialEq + Clone,
    {
        if reload == Reload::Restart && started != new {
            self.0.push(path);
            new.clone_from(started);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::num::NonZeroUsize;

    use super::*;
    use crate::config::keys::{self, TABLES};
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

    /// The keys whose declarations say that a change, or a higher value, takes a restart.
    fn declared() -> BTreeSet<&'static str> {
        let held = |reload: Reload| matches!(reload, Reload::Restart | Reload::Lowered);
        let tables = TABLES.iter().filter(|table| held(table.reload));
        let keys = keys::all().filter(|key| held(key.reload));
        let mut paths: BTreeSet<_> = keys.map(|key| key.path).collect();
        paths.extend(tables.map(|table| table.path));
        // A setting that two keys determine is reported under the first of them.
        for second in ["store.cache", "tokens.secret_file"] {
            assert!(paths.remove(second), "{second} is declared otherwise");
        }
        // All keys of mail are one setting, reported under the name of the section.
        paths.retain(|path| !path.starts_with("mail."));
        paths
    }

    #[test]
    fn the_page_on_operations_names_every_key_that_waits_for_a_restart() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md");
        let page = std::fs::read_to_string(page).unwrap();
        let table = page.split("## ").nth(1).unwrap_or_default();
        for path in declared() {
            let section = path.split('.').next().unwrap_or_default();
            let (key, whole) = (format!("`{path}`"), format!("`{section}.*`"));
            assert!(table.contains(&key) || table.contains(&whole), "{path}");
        }
    }

    #[test]
    fn settings_that_a_reload_cannot_change_are_named_and_kept() {
        // A reload can change the trusted proxies; here they stay the same.
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
             tokens.access_ttl = \"16m\"\ntokens.leeway = \"6s\"\nmail.transport = \"file:mails\"\n",
        ));
        let (held, waiting) = held_back(&started, new);
        let keys = "server.listen server.threads server.control admin.listen \
                    server.proxy_protocol server.redirect_listen server.tls log.access \
                    log.access_file log.format store.url store.deadline \
                    tokens.issuer tokens.algorithm tokens.keys_dir tokens.secret \
                    tokens.access_ttl tokens.leeway audit.dir audit.keep audit.max_size \
                    audit.refreshes mail";
        assert_eq!(waiting.join(" "), keys);
        assert_eq!(waiting.into_iter().collect::<BTreeSet<_>>(), declared());
        assert_eq!(held.server, started.server);
        assert_eq!(held.tokens, started.tokens);
        assert_eq!(held.store, started.store);
        assert_eq!(held.audit, started.audit);
        assert_eq!(held.service, started.service);
        assert_eq!(held.mail, started.mail);
        assert_eq!(held.log, started.log);
    }

    #[test]
    fn turning_tls_on_or_off_needs_a_restart_and_changed_files_do_not() {
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
    fn reloadable_settings_are_applied() {
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
