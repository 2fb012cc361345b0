//! The keys of `[tenant]`.

use crate::config::key::{Support, keys};
use crate::config::kind::{Text, Texts, list, text, texts};

keys! {
    /// Not in this version: tenants.
    TENANT = list("tenant[]").support(Support::Ignored("this version serves a single tenant"));

    /// The name.
    NAME: Text = text("tenant[].name", "");

    /// "active", or another state.
    STATE: Text = text("tenant[].state", "active");

    /// The tenant's hosts.
    HOSTS: Texts = texts("tenant[].hosts", &[]);
}
