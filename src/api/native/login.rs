//! How does a client receive tokens?
//!
//! `POST /login`, `POST /refresh`.

use http::StatusCode;

use crate::api::call::Call;
use crate::api::error::ApiError;
use crate::api::native::account::{MAX_LOGIN, display_text, password_field};
use crate::api::native::view::{InBody, TokensView};
use crate::api::settings::Delivery;
use crate::api::wire::body::Presence;
use crate::api::wire::cookie;
use crate::api::wire::reply::{self, Answer};
use crate::service::{AuthError, Grant, LoginRequest};
use crate::types::ids::DeviceId;
use crate::types::secret::SecretText;

/// The longest device name, in bytes.
const MAX_DEVICE_NAME: usize = 128;

/// The longest refresh token, in bytes.
const MAX_REFRESH: usize = 512;

pub(super) async fn login(call: Call) -> Result<Answer, ApiError> {
    call.refuse_foreign_origin()?;
    let mut fields = call.json(Presence::Required)?;
    let identifier = fields.text("identifier", MAX_LOGIN)?;
    let password = password_field(&mut fields, "password")?;
    let device_name = fields.optional_text("deviceName", MAX_DEVICE_NAME)?;
    let remember = fields.flag("remember")?;
    fields.finish()?;
    let device_name = display_text("deviceName", device_name)?;
    let request = LoginRequest {
        identifier,
        password,
        device_name,
        remember,
    };
    let mut caller = call.caller.clone();
    let service = &call.state.service;
    let first = *caller.device.get_or_insert_with(|| service.fresh_device());
    let grant = service.login(request, &mut caller).await?;
    let device = caller.device.unwrap_or(first);
    let mut answer = tokens(&call, &grant, OtherCopies::Remove, Some(device))?;
    if call.uses_cookies() {
        cookie::name_device(answer.headers_mut(), &call.state.settings.cookies, device);
    }
    Ok(answer)
}

pub(super) async fn refresh(call: Call) -> Result<Answer, ApiError> {
    call.refuse_foreign_origin()?;
    let token = match refresh_in_body(&call)? {
        Some(token) => token,
        None => refresh_in_cookie(&call).await?,
    };
    let grant = call
        .state
        .service
        .refresh(token.expose(), &call.caller)
        .await?;
    tokens(&call, &grant, OtherCopies::Keep, None)
}

/// The refresh token in the body, if there is one.
pub(super) fn refresh_in_body(call: &Call) -> Result<Option<SecretText>, ApiError> {
    let mut fields = call.json(Presence::Optional)?;
    let shown = fields.optional_text("refreshToken", MAX_REFRESH)?;
    fields.finish()?;
    Ok(shown.map(SecretText::new))
}

/// The refresh token in our cookie. The call must come from a page of ours, because it uses the cookie.
async fn refresh_in_cookie(call: &Call) -> Result<SecretText, ApiError> {
    let copies = call.state.refresh_cookies(&call.headers);
    if copies.is_empty() {
        return Err(ApiError::Auth(AuthError::InvalidRefreshToken));
    }
    call.require_own_origin()?;
    Ok(call.state.service.choose_refresh(copies).await?)
}

/// Whether other copies of our cookies in the browser are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OtherCopies {
    Remove,
    Keep,
}

/// The response with tokens, in the body or in cookies as configured for the mount. `device` is included where
/// the client stores tokens itself.
fn tokens(
    call: &Call,
    grant: &Grant,
    others: OtherCopies,
    device: Option<DeviceId>,
) -> Result<Answer, ApiError> {
    let settings = &call.state.settings;
    let now = call.state.service.now();
    let in_body = match call.mount.delivery {
        Delivery::Json => InBody::Both,
        Delivery::Hybrid => InBody::AccessOnly,
        Delivery::Cookies => InBody::Neither,
    };
    let view = TokensView::of(grant, in_body, now, &call.state);
    let device = device.filter(|_| in_body != InBody::Neither);
    let mut answer = reply::json(StatusCode::OK, &view.with_device(device))?;
    let delivery = call.mount.delivery;
    if others == OtherCopies::Remove && call.uses_cookies() {
        // Before the new cookies are set: some browsers treat a copy as the same cookie.
        let copies = call.copies();
        copies.remove_others(answer.headers_mut(), &settings.cookies);
    }
    cookie::set_tokens(
        answer.headers_mut(),
        &settings.cookies,
        delivery,
        grant,
        now,
    );
    Ok(answer)
}
