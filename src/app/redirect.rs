//! Where a configuration sends the clients of the redirect listener.

use crate::config::Config;
use crate::server::intake::Hosts;
use crate::server::redirect::Target;
use crate::server::settings::Listen;

/// The target, as the start and every reload make it.
pub(super) fn redirect_target(config: &Config) -> Target {
    let server = &config.server;
    let origin = config.api.public_origin.as_deref();
    let authority = origin.and_then(|origin| origin.strip_prefix("https://"));
    let port = match &server.listen {
        Listen::Tcp(address) if ![0, 443].contains(&address.port()) => Some(address.port()),
        _ => None,
    };
    Target {
        authority: authority.map(str::to_owned),
        port,
        hosts: Hosts::new(server.hosts.clone()),
        trusted: server.trusted_proxies.clone(),
    }
}
