//! From words to settings: each section's file turns its part of `raw` into the settings type of
//! the part it configures. A wrong value is noted at the reader and replaced by a harmless one, so
//! that reading goes on; with one note on the reader no configuration leaves this module.

mod accounts;
mod audit;
mod cookies;
mod headers;
mod limits;
mod mounts;
mod names;
mod network;
mod policy;
mod reader;
mod refused;
mod tls;
mod tokens;
mod upstream;

use crate::config::problem::Problem;
use crate::config::raw::Raw;
use crate::config::tree::Origins;
use crate::config::{Config, Sources};
use crate::store::settings::Settings as StoreSettings;

use reader::Reader;

/// Builds the settings; `None` when something needed is missing, which is then among the problems.
pub(super) fn build(
    raw: &Raw,
    origins: &Origins,
    sources: &Sources<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Config> {
    let mut reader = Reader::new(origins, problems);
    refused::refuse(&mut reader, raw);
    let tokens = tokens::build(&mut reader, &raw.tokens, sources.read);
    let store = accounts::store(&mut reader, &raw.store, &tokens);
    let audit = audit::build(&mut reader, &raw.audit, &store.engine);
    let store = StoreSettings {
        audit_life: audit.keep,
        ..store
    };
    let public_origin = network::public_origin(&mut reader, &raw.server);
    let cookies = cookies::build(
        &mut reader,
        &raw.cookies,
        public_origin.as_deref(),
        tls::is_on(&raw.server),
    );
    let (server, trusted_networks) =
        network::build(&mut reader, raw, sources.cores, &store, &tokens.keys_dir);
    let proxy = upstream::build(&mut reader, raw, &cookies);
    let guard = headers::build(&mut reader, &raw.headers, &cookies);
    let policy = policy::build(&mut reader, raw);
    let crypto = accounts::crypto(&mut reader, &raw.passwords);
    let service = accounts::service(&mut reader, raw, &tokens);
    let limits = limits::build(&mut reader, &raw.limits);
    let api = mounts::build(&mut reader, raw, cookies, public_origin);
    let log = network::log(&mut reader, &raw.log);
    let (warnings, dangers) = reader.finish();
    Some(Config {
        server,
        proxy: proxy?,
        policy,
        guard,
        tokens,
        store,
        audit,
        crypto,
        service,
        api,
        limits,
        log,
        trusted_networks,
        warnings,
        dangers,
    })
}
