//! Whether a listener is still there, as the kernel's own table tells it. To knock would prove
//! less: the port of a closed socket may at once belong to another test, which answers, and is not
//! helped by a visitor it does not know.

use std::net::SocketAddr;

use crate::harness::until;

/// The sockets that listen at an address, one for each worker.
#[derive(Debug)]
pub(crate) struct Door {
    /// Their numbers in the kernel, which no other socket gets.
    inodes: Vec<String>,
}

impl Door {
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

/// The address and the number of every TCP socket that listens.
fn listening() -> Vec<(String, String)> {
    const LISTEN: &str = "0A";
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    let rows = table.lines().map(|line| line.split_whitespace().collect());
    rows.filter_map(|fields: Vec<&str>| match fields[..] {
        [_, own, _, LISTEN, _, _, _, _, _, inode, ..] => Some((own.to_owned(), inode.to_owned())),
        _ => None,
    })
    .collect()
}
