//! The keys of `[geoip]`.

use crate::config::key::{Base, keys};
use crate::config::kind::{File, file, section};

keys! {
    GEOIP = section("geoip");

    /// A city database in MaxMind's format (.mmdb), such as GeoLite2-City or DB-IP City Lite. Session lists
    /// then show country and city. The file is read again when it changes; while it is absent or
    /// damaged, places are unknown. In this file, a relative path is relative to the directory of this
    /// file.
    DATABASE: File = file("geoip.database", "").relative_to(Base::File);
}
