//! May this request pass? One question, one answer: a [`Permit`] or a [`Denial`].
pub mod assertion;
pub mod authorize;
pub mod caching;
pub mod denial;
pub mod extract;
pub mod headers;
pub mod identity;
pub mod notice;
pub mod permit;
mod presets;
pub mod settings;
mod unseen;

pub use assertion::Assertions;
pub use authorize::{Decision, Guard};
pub use denial::{Denial, Reason};
pub use headers::IdentityHeaders;
pub use identity::Identity;
pub use notice::Notice;
pub use permit::Permit;
pub use presets::DEVICE_TOKEN;
pub use unseen::Unseen;
