//! Issues and verifies access tokens: JSON Web Tokens (RFC 7519, RFC 9068) in exactly the form that
//! Sidegate issues. A token in any other form is refused before a claim is used. Assertions for the application are
//! tokens of another type, which are only issued.
pub mod assertion;
pub mod cache;
pub mod claims;
mod encoding;
pub mod issue;
pub mod jwks;
pub mod keys;
pub mod settings;
pub mod verify;

#[cfg(test)]
mod tests;

pub use assertion::Asserter;
pub use cache::TokenCache;
pub use claims::AccessClaims;
pub use issue::Issuer;
pub use keys::Keys;
pub use verify::{Refusal, Verifier};
