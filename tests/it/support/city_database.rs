//! A city database in the `mmdb` format, version 2.0, written for tests.

use std::net::IpAddr;

/// A network, and the place of its addresses.
#[derive(Clone, Copy)]
pub(crate) struct Network {
    /// An address of it.
    pub(crate) address: &'static str,
    /// The length of its prefix.
    pub(crate) prefix: u8,
    pub(crate) country: &'static str,
    pub(crate) city: &'static str,
}

/// The search tree: each node has an entry for the bits 0 and 1.
struct Tree(Vec<[Entry; 2]>);

#[derive(Clone, Copy)]
enum Entry {
    Empty,
    Node(usize),
    /// An offset in the data.
    Data(usize),
}

/// The file with these networks, which must not overlap.
pub(crate) fn city_database(networks: &[Network]) -> Vec<u8> {
    let mut tree = Tree(vec![[Entry::Empty; 2]]);
    let mut data = Vec::new();
    for network in networks {
        tree.insert(network, data.len());
        map(&mut data, 2);
        text(&mut data, "city");
        map(&mut data, 1);
        text(&mut data, "names");
        map(&mut data, 1);
        text(&mut data, "en");
        text(&mut data, network.city);
        text(&mut data, "country");
        map(&mut data, 1);
        text(&mut data, "iso_code");
        text(&mut data, network.country);
    }
    let mut file = tree.bytes();
    file.extend([0; 16]);
    file.extend(data);
    file.extend(metadata(tree.0.len()));
    file
}

impl Tree {
    fn insert(&mut self, network: &Network, offset: usize) {
        let address: IpAddr = network.address.parse().expect("an address");
        // IPv4 addresses are in ::/96.
        let (bits, length) = match address {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()), 96 + network.prefix),
            IpAddr::V6(v6) => (v6.to_bits(), network.prefix),
        };
        let mut node = 0;
        for depth in 0..length {
            let bit = usize::from((bits >> (127 - depth)) & 1 == 1);
            if depth + 1 == length {
                self.0[node][bit] = Entry::Data(offset);
            } else if let Entry::Node(next) = self.0[node][bit] {
                node = next;
            } else {
                self.0.push([Entry::Empty; 2]);
                let next = self.0.len() - 1;
                self.0[node][bit] = Entry::Node(next);
                node = next;
            }
        }
    }

    /// Two records of 24 bits for each node.
    fn bytes(&self) -> Vec<u8> {
        let nodes = self.0.len();
        let value = |entry: &Entry| match entry {
            Entry::Empty => nodes,
            Entry::Node(node) => *node,
            Entry::Data(offset) => nodes + 16 + offset,
        };
        let entries = self.0.iter().flatten();
        let number = |entry| u32::try_from(value(entry)).expect("a small file");
        let bytes = |entry| number(entry).to_be_bytes()[1..].to_vec();
        entries.flat_map(bytes).collect()
    }
}

fn metadata(nodes: usize) -> Vec<u8> {
    let mut bytes = b"\xab\xcd\xefMaxMind.com".to_vec();
    let out = &mut bytes;
    map(out, 9);
    text(out, "binary_format_major_version");
    number(out, 5, 2);
    text(out, "binary_format_minor_version");
    number(out, 5, 0);
    text(out, "build_epoch");
    // uint64 is an extended type.
    out.extend([0x08, 0x02]);
    out.extend(1_800_000_000_u64.to_be_bytes());
    text(out, "database_type");
    text(out, "Test-City");
    text(out, "description");
    map(out, 1);
    text(out, "en");
    text(out, "Places for tests");
    text(out, "ip_version");
    number(out, 5, 6);
    text(out, "languages");
    // So is an array.
    out.extend([0x01, 0x04]);
    text(out, "en");
    text(out, "node_count");
    number(out, 6, u32::try_from(nodes).expect("a small file"));
    text(out, "record_size");
    number(out, 5, 24);
    bytes
}

fn map(out: &mut Vec<u8>, members: u8) {
    out.push(0xe0 | members);
}

fn text(out: &mut Vec<u8>, text: &str) {
    let length = u8::try_from(text.len()).expect("a short text");
    match length {
        0..29 => out.push(0x40 | length),
        _ => out.extend([0x5d, length - 29]),
    }
    out.extend(text.as_bytes());
}

/// A number of the type uint16 (5) or uint32 (6).
fn number(out: &mut Vec<u8>, kind: u8, value: u32) {
    let bytes = value.to_be_bytes();
    let used = if kind == 5 { &bytes[2..] } else { &bytes[..] };
    out.push(kind << 5 | u8::try_from(used.len()).expect("at most four"));
    out.extend(used);
}
