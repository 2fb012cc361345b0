//! Which fields do responses have?
//!
//! camelCase, times in ISO 8601, unknown values `null`. Each field is listed, so that a field that is added to a
//! record is not exposed.

use serde::{Serialize, Serializer};

use crate::api::state::State;
use crate::geo::Place;
use crate::model::session::Session;
use crate::model::user::User;
use crate::service::Grant;
use crate::types::ids::{DeviceId, SessionId};
use crate::types::login::LoginName;
use crate::types::net;
use crate::types::secret::SecretText;
use crate::types::time::Timestamp;

/// An account.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UserView {
    id: String,
    username: Option<String>,
    email: Option<String>,
    mobile: Option<String>,
    unverified_email: Option<String>,
    unverified_mobile: Option<String>,
    name: Option<String>,
    roles: Vec<String>,
    #[serde(serialize_with = "iso")]
    created_at: Timestamp,
}

impl UserView {
    /// Applications treat `email` as an identity, so an unverified address has a field of its own.
    pub(super) fn of(user: &User) -> Self {
        let unverified = |login: &Option<LoginName>, is_verified: bool| {
            let login = login.as_ref().filter(|_| !is_verified);
            login.map(ToString::to_string)
        };
        Self {
            id: user.key.user.to_string(),
            username: user.username.as_ref().map(ToString::to_string),
            email: user.verified_email().map(ToString::to_string),
            mobile: user.verified_mobile().map(ToString::to_string),
            unverified_email: unverified(&user.email, user.verified.email),
            unverified_mobile: unverified(&user.mobile, user.verified.mobile),
            name: user.name.clone(),
            roles: user.roles.iter().map(ToString::to_string).collect(),
            created_at: user.created_at,
        }
    }
}

/// A session.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionView {
    id: String,
    status: &'static str,
    is_current: bool,
    is_trusted_device: bool,
    device_id: Option<String>,
    device_name: Option<String>,
    device_type: &'static str,
    platform: Option<String>,
    browser: Option<String>,
    browser_version: Option<String>,
    is_mobile: bool,
    ip_address: Option<String>,
    ip_masked: Option<String>,
    ip_country: Option<String>,
    ip_city: Option<String>,
    auth_method: String,
    auth_provider: Option<String>,
    #[serde(serialize_with = "iso")]
    created_at: Timestamp,
    #[serde(serialize_with = "iso")]
    last_active_at: Timestamp,
    #[serde(serialize_with = "iso")]
    expires_at: Timestamp,
    abandon_at: Option<String>,
    open_streams: u32,
}

impl SessionView {
    pub(super) fn of(session: &Session, current: SessionId, state: &State) -> Self {
        let settings = &state.settings;
        let places = state.service.places();
        let place = session.last_address.map(|address| places.find(address));
        let Place { country, city } = place.unwrap_or_default();
        Self {
            id: session.key.id.to_string(),
            status: "active",
            is_current: session.key.id == current,
            is_trusted_device: false,
            device_id: session.device_id.map(|id| id.to_string()),
            device_name: session
                .device_label
                .clone()
                .or_else(|| session.device.label()),
            device_type: session.device.kind.as_str(),
            platform: session.device.system.clone(),
            browser: session.device.browser.clone(),
            browser_version: session.device.browser_version.clone(),
            is_mobile: session.device.is_mobile(),
            ip_address: settings.addresses.full(session.last_address),
            ip_masked: session.last_address.map(net::masked),
            ip_country: country,
            ip_city: city,
            auth_method: session.proof.method.clone(),
            auth_provider: session.proof.provider.clone(),
            created_at: session.created_at,
            last_active_at: session.last_active_at,
            expires_at: session.expires_at,
            abandon_at: None,
            open_streams: state.service.streams().count(session.key.id),
        }
    }
}

/// Tokens after a log-in or refresh. The tokens themselves are absent where cookies carry them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokensView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<&'a str>,
    token_type: &'static str,
    expires_in: u64,
    #[serde(serialize_with = "iso")]
    access_token_expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    #[serde(serialize_with = "iso")]
    refresh_token_expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_token: Option<String>,
    session: SessionView,
}

impl<'a> TokensView<'a> {
    pub(super) fn of(grant: &'a Grant, in_body: InBody, now: Timestamp, state: &State) -> Self {
        let access = matches!(in_body, InBody::Both | InBody::AccessOnly);
        let refresh = matches!(in_body, InBody::Both);
        Self {
            access_token: access.then(|| SecretText::expose(&grant.access)),
            token_type: "Bearer",
            expires_in: grant.access_expires_at.since(now).as_secs(),
            access_token_expires_at: grant.access_expires_at,
            refresh_token: refresh.then(|| SecretText::expose(&grant.refresh)),
            refresh_token_expires_at: grant.session.ends_at(),
            device_token: None,
            session: SessionView::of(&grant.session, grant.session.key.id, state),
        }
    }
}

impl TokensView<'_> {
    /// Adds the token that identifies this device at the next log-in.
    pub(super) fn with_device(mut self, device: Option<DeviceId>) -> Self {
        self.device_token = device.map(|device| device.to_string());
        self
    }
}

/// The tokens in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InBody {
    Both,
    AccessOnly,
    Neither,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over references"
)]
fn iso<S: Serializer>(moment: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(moment)
}
