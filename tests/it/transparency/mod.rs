//! The application cannot tell that somebody stands in front of it, and neither can its callers.
//!
//! `wire` compares bytes of HTTP/1.1 with bytes. `matrix` plays one table of exchanges (`table`) by
//! every client (`clients`) to every kind of application (`stages`, `by_hand`), and compares with the same
//! exchange without Sidegate (`message` says how). What may differ is what the manual says (`manual`).

mod by_hand;
mod clients;
mod manual;
mod matrix;
mod message;
mod stages;
mod table;
mod wire;
