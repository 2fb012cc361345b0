//! The keys of `[geoip]`.

use crate::config::key::{Support, keys};
use crate::config::kind::{File, file, section};

keys! {
    GEOIP = section("geoip");

    /// Not in this version: path of a city database.
    DATABASE: File = file("geoip.database", "")
        .support(Support::Refused("this version does not look up places"));
}
