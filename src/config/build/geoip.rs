//! `[geoip]`: which city database is used?

use crate::config::build::reader::Reader;
use crate::config::keys::geoip;
use crate::geo::settings::Settings;

pub(super) fn build(reader: &mut Reader<'_>) -> Settings {
    Settings {
        database: reader.get(&geoip::DATABASE),
    }
}
