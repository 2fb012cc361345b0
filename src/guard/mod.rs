//! May this request pass? One question, one answer: a [`Permit`] or a [`Denial`].
pub mod identity;
pub mod permit;
pub mod settings;

pub use identity::Identity;
pub use permit::Permit;
