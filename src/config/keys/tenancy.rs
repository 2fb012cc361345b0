//! The keys of `[tenancy]`.

use crate::config::key::{Support, keys};
use crate::config::kind::{Text, section, text};

keys! {
    TENANCY = section("tenancy");

    /// Only "off" in this version.
    MODE: Text = text("tenancy.mode", "off")
        .support(Support::Refused("this version serves a single tenant; only \"off\" is possible"));

    /// Not in this version: the header that contains the tenant.
    HEADER: Text = text("tenancy.header", "x-tenant-id")
        .support(Support::Ignored("this version serves a single tenant"));
}
