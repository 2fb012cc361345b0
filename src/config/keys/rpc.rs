//! The keys of `[rpc]`.

use crate::config::key::{Support, keys};
use crate::config::kind::{Text, section, text};

keys! {
    RPC = section("rpc");

    /// Not in this version: the Nest TCP transport.
    LISTEN: Text = text("rpc.listen", "")
        .support(Support::Refused("this version does not speak the Nest TCP transport"));
}
