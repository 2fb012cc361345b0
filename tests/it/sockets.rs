//! Whether a listener is still there, as the kernel's own table tells it. To knock would prove
//! less: the port of a closed socket may at once belong to another test, which answers, and is not
//! helped by a visitor it does not know.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;

use crate::harness::until;

/// The sockets that listen at an address, one for each worker.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// Their numbers in the kernel, which no other socket gets.
    inodes: Vec<String>,
}

impl Sockets {
    /// The sockets that listen there.
    pub(crate) fn at(address: SocketAddr) -> Self {
        let end = format!(":{:04X}", address.port());
        let mut listening = listening();
        listening.retain(|(own, _)| own.ends_with(&end));
        let inodes: Vec<_> = listening.into_iter().map(|(_, inode)| inode).collect();
        assert!(!inodes.is_empty(), "nobody listens at {address}");
        Self { inodes }
    }

    /// Waits until all of them are closed.
    pub(crate) async fn closes(&self) {
        let is_ours = |(_, inode): &(String, String)| self.inodes.contains(inode);
        let is_listed = || listening().iter().any(is_ours);
        // A table that changes while it is read may lack a row; not twice.
        until(|| (!is_listed() && !is_listed()).then_some(())).await;
    }
}

/// The address and the number of every TCP socket that listens. They stand before all others, which
/// may be tens of thousands.
fn listening() -> Vec<(String, String)> {
    const LISTEN: &str = "0A";
    let table = File::open("/proc/net/tcp").expect("the kernel's table");
    let mut listening = Vec::new();
    for line in BufReader::new(table).lines().skip(1) {
        let line = line.expect("the kernel's table");
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, own, _, LISTEN, _, _, _, _, _, inode, ..] = fields[..] else {
            break;
        };
        listening.push((own.to_owned(), inode.to_owned()));
    }
    listening
}
