//! From declared keys to settings: each file reads the keys of some sections, applies the rules that
//! involve several keys, and makes the settings of the part it configures.
//!
//! `read` holds the checks of a single value (type, bounds, words); `reader` collects the mistakes.

mod accounts;
mod audit;
mod cookies;
mod geoip;
mod headers;
mod limits;
mod log;
mod mail;
mod mounts;
mod names;
mod passwords;
mod paths;
mod policy;
mod read;
mod reader;
mod server;
mod store;
mod tls;
mod tokens;
mod trusted;
mod unsupported;
mod upstream;

use crate::config::problem::Problem;
use crate::config::tree::Tree;
use crate::config::{Config, Sources};
use crate::store::settings::Settings as StoreSettings;

use reader::Reader;

/// Builds the settings; `None` when something needed is missing, which is then among the problems.
pub(super) fn build(
    tree: &Tree,
    sources: &Sources<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Config> {
    let mut reader = Reader::new(tree, problems);
    unsupported::check(&mut reader);
    let tokens = tokens::build(&mut reader, sources.read);
    let store = store::build(&mut reader, &tokens);
    let audit = audit::build(&mut reader, &store.engine);
    let store = StoreSettings {
        audit_life: audit.keep,
        ..store
    };
    let public_origin = server::public_origin(&mut reader);
    let cookies = cookies::build(&mut reader, public_origin.as_ref());
    let log = log::build(&mut reader);
    let (trusted_proxies, trusted_networks) = trusted::build(&mut reader);
    let inputs = server::Inputs {
        cores: sources.cores,
        store: &store.engine,
        keys_dir: &tokens.keys_dir,
        trusted_proxies,
        public_origin: public_origin.as_ref(),
        json_logs: log.json,
    };
    let server = server::build(&mut reader, inputs);
    let proxy = upstream::build(&mut reader, &cookies);
    let upstream = proxy.as_ref().map(|proxy| &proxy.upstream);
    let guard = headers::build(&mut reader, &cookies, tokens.algorithm, upstream);
    let policy = policy::build(&mut reader);
    let crypto = passwords::build(&mut reader);
    let mail = mail::build(&mut reader, sources.read);
    let language = mail.as_ref().map(|mail| mail.language);
    let service = accounts::build(&mut reader, &tokens, language);
    let limits = limits::build(&mut reader);
    let geo = geoip::build(&mut reader);
    let api = mounts::build(&mut reader, cookies, public_origin);
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
        mail,
        api,
        limits,
        geo,
        log,
        trusted_networks,
        warnings,
        dangers,
    })
}
