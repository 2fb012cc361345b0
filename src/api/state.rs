//! Which state do all calls of the API share?

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use crate::api::settings::Settings;
use crate::api::wire::reply::{self, Answer};
use crate::guard::{Notice, extract};
use crate::service::Service;
use crate::tokens::jwks::jwks;
use crate::tokens::keys::Keys;
use crate::types::secret::SecretText;

/// The state that all calls share.
#[derive(Debug)]
pub struct State {
    /// The use cases.
    pub service: Arc<Service>,
    /// The keys that sign tokens.
    pub keys: Arc<Keys>,
    /// The settings.
    pub settings: Settings,
    /// The warnings that are logged once.
    pub notice: Arc<Notice>,
}

impl State {
    /// The copies of the refresh cookie. A request with too many has none.
    pub fn refresh_cookies(&self, headers: &HeaderMap) -> Vec<SecretText> {
        let name = &self.settings.cookies.refresh;
        let Ok(copies) = extract::copies(headers, name) else {
            self.notice.several_copies(name);
            return Vec::new();
        };
        if copies.are_several() {
            self.notice.several_copies(name);
        }
        copies.texts()
    }

    /// The public keys.
    pub fn jwks(&self) -> Answer {
        let document = jwks(&self.keys.ring(), self.service.now());
        reply::json_bytes(Bytes::from(document))
    }
}
