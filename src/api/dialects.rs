//! Which dialects exist?

use crate::api::dialect::Dialect;
use crate::api::native::Native;
use crate::api::settings::DialectName;

/// The dialect of a name.
pub fn of(name: DialectName) -> &'static dyn Dialect {
    match name {
        DialectName::Sidegate => &Native,
    }
}
