//! Is a listener still open? The answer is in the kernel's table of sockets; a connection attempt could
//! reach another test that uses the port by now.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;

use crate::support::wait::until;

/// The listening sockets at an address, one for each worker.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// Their inodes, which no other socket gets.
    inodes: Vec<String>,
}

impl Sockets {
    /// Finds the sockets that listen at an address.
    pub(crate) fn at(address: SocketAddr) -> Self {
        let end = format!(":{:04X}", address.port());
        let mut listening = listening();
        listening.retain(|(own, _)| own.ends_with(&end));
        let inodes: Vec<_> = listening.into_iter().map(|(_, inode)| inode).collect();
        assert!(!inodes.is_empty(), "no socket listens at {address}");
        Self { inodes }
    }

    /// Waits until all of them are closed.
    pub(crate) async fn closes(&self) {
        let is_ours = |(_, inode): &(String, String)| self.inodes.contains(inode);
        let is_listed = || listening().iter().any(is_ours);
        // A table that changes while it is read may lack a row, but not twice.
        until(|| (!is_listed() && !is_listed()).then_some(())).await;
    }
}

/// The address and inode of every listening TCP socket. They precede all others, of which there may be
/// tens of thousands.
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
