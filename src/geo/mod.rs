//! In which country and city is an address? From a city database, a file in the `mmdb` format that an operator
//! supplies.

mod database;
mod places;
pub mod settings;

pub use self::places::{Place, Places};
