//! From words to settings: each section's file turns its part of `raw` into the settings type of
//! the part it configures. A wrong value is noted at the desk and replaced by a harmless one, so
//! that reading goes on; with one note on the desk no configuration leaves this module.

mod accounts;
mod cookies;
mod desk;
mod headers;
mod limits;
mod mounts;
mod names;
mod network;
mod policy;
mod refused;
mod tls;
mod tokens;
mod upstream;

use crate::config::problem::Problem;
use crate::config::raw::Raw;
use crate::config::tree::Origins;
use crate::config::{Config, Sources};

use desk::Desk;

/// Builds the settings; `None` when something needed is missing, which is then among the problems.
pub(super) fn build(
    raw: &Raw,
    origins: &Origins,
    sources: &Sources<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Config> {
    let mut desk = Desk::new(origins, problems);
    refused::refuse(&mut desk, raw);
    let tokens = tokens::build(&mut desk, &raw.tokens, sources.read);
    let store = accounts::store(&mut desk, &raw.store, &tokens);
    let public_origin = network::public_origin(&mut desk, &raw.server);
    let cookies = cookies::build(
        &mut desk,
        &raw.cookies,
        public_origin.as_deref(),
        tls::is_on(&raw.server),
    );
    let (server, trusted_networks) =
        network::build(&mut desk, raw, sources.cores, &store, &tokens.keys_dir);
    let proxy = upstream::build(&mut desk, raw, &cookies);
    let guard = headers::build(&mut desk, &raw.headers, &cookies);
    let policy = policy::build(&mut desk, raw);
    let crypto = accounts::crypto(&mut desk, &raw.passwords);
    let service = accounts::service(&mut desk, raw, &tokens);
    let limits = limits::build(&mut desk, &raw.limits);
    let api = mounts::build(&mut desk, raw, cookies, public_origin);
    let log = network::log(&mut desk, &raw.log);
    let (warnings, dangers) = desk.finish();
    Some(Config {
        server,
        proxy: proxy?,
        policy,
        guard,
        tokens,
        store,
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
