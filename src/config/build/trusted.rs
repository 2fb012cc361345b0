//! `server.trusted_proxies`: the peers whose forwarding headers are trusted.

use ipnet::IpNet;

use crate::config::build::reader::Reader;
use crate::config::keys::server;
use crate::config::tree::item;
use crate::types::trusted_proxies::{self, BadNetwork, TrustedProxies};

/// The list that peers are compared with, and the networks for output. A list that cannot be used is a
/// mistake. A network that is larger than it looks gives a warning.
pub(super) fn build(reader: &mut Reader<'_>) -> (TrustedProxies, Vec<IpNet>) {
    let key = server::TRUSTED_PROXIES.path();
    let mut networks: Vec<IpNet> = Vec::new();
    for (index, text) in reader.get(&server::TRUSTED_PROXIES).into_iter().enumerate() {
        let at = item(key, index);
        match trusted_proxies::network(text) {
            Ok(network) => {
                if network.addr() != network.network() {
                    let whole = network.trunc();
                    reader.warn(format!(
                        "{at} = {text:?} means all of {whole}; write that, or leave out the slash \
                         and the number to trust one address"
                    ));
                }
                if networks.contains(&network.trunc()) {
                    reader.warn(format!("{at} = {text:?} is listed twice"));
                } else {
                    networks.push(network.trunc());
                }
            }
            Err(bad @ BadNetwork::Malformed) => {
                reader.refuse_with(&at, bad.to_string(), bad.hint());
            }
            Err(bad) => reader.refuse_with(&at, format!("{text} {bad}"), bad.hint()),
        }
    }
    let list = TrustedProxies::try_new(networks.clone()).unwrap_or_else(|bad| {
        reader.refuse_with(key, format!("the list {bad}"), bad.hint());
        TrustedProxies::default()
    });
    (list, networks)
}
