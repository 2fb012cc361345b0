//! The keys of `[admin]`.

use crate::config::key::{Reload, keys};
use crate::config::kind::{Text, section, text};

keys! {
    ADMIN = section("admin");

    /// The listener of /livez, /startupz, /readyz and /metrics. "" turns it off.
    LISTEN: Text = text("admin.listen", "127.0.0.1:9180").changes(Reload::Restart);
}
