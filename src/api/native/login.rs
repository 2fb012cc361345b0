//! `POST /login`, `POST /refresh`: both answer with tokens.

use bytes::Bytes;
use http::StatusCode;
use http_body::Body;

use crate::api::Answer;
use crate::api::error::ApiError;
use crate::api::native::Asked;
use crate::api::native::account::{MAX_LOGIN, display_text, password_field};
use crate::api::native::view::{InBody, TokensView};
use crate::api::settings::Delivery;
use crate::api::wire::body::Presence;
use crate::api::wire::{cookie, csrf, reply};
use crate::guard::extract;
use crate::service::{AuthError, Grant, LoginRequest};
use crate::types::secret::SecretText;

/// The longest device name, in bytes.
const MAX_DEVICE_NAME: usize = 128;

/// The longest refresh token that is looked at, in bytes.
const MAX_REFRESH: usize = 512;

pub(super) async fn login<B>(asked: &Asked<'_>, body: B) -> Result<Answer, ApiError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut fields = asked.object(body, Presence::Required).await?;
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
    let mut caller = asked.call.caller.clone();
    if asked.uses_cookies() {
        csrf::check_told(asked.call, asked.headers, &asked.api.settings)?;
        caller
            .device
            .get_or_insert_with(|| asked.api.service.fresh_device());
    }
    let grant = asked.api.service.login(request, &caller).await?;
    let mut answer = tokens(asked, &grant)?;
    if let Some(device) = caller.device.filter(|_| asked.uses_cookies()) {
        cookie::name_device(answer.headers_mut(), &asked.api.settings.cookies, device);
    }
    Ok(answer)
}

pub(super) async fn refresh<B>(asked: &Asked<'_>, body: B) -> Result<Answer, ApiError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let shown = shown_refresh(asked, body).await?;
    let token = if let Some(token) = shown {
        token
    } else {
        let cookie =
            refresh_cookie(asked)?.ok_or(ApiError::Auth(AuthError::InvalidRefreshToken))?;
        csrf::check(asked.call, asked.headers, &asked.api.settings)?;
        cookie
    };
    let grant = asked
        .api
        .service
        .refresh(token.expose(), &asked.call.caller)
        .await?;
    tokens(asked, &grant)
}

/// The refresh token in the body, if there is one.
pub(super) async fn shown_refresh<B>(
    asked: &Asked<'_>,
    body: B,
) -> Result<Option<SecretText>, ApiError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut fields = asked.object(body, Presence::Optional).await?;
    let shown = fields.optional_text("refreshToken", MAX_REFRESH)?;
    fields.finish()?;
    Ok(shown.map(SecretText::new))
}

/// The refresh token our cookie carries. A doubled cookie is refused like a bad token.
pub(super) fn refresh_cookie(asked: &Asked<'_>) -> Result<Option<SecretText>, ApiError> {
    let name = &asked.api.settings.cookies.refresh;
    match extract::cookie(asked.headers, name) {
        Ok(value) => Ok(value.map(SecretText::new)),
        Err(_) => Err(ApiError::Auth(AuthError::InvalidRefreshToken)),
    }
}

/// The answer that carries tokens, in the body or in cookies as the mount says.
fn tokens(asked: &Asked<'_>, grant: &Grant) -> Result<Answer, ApiError> {
    let settings = &asked.api.settings;
    let now = asked.api.service.now();
    let in_body = match asked.call.mount.delivery {
        Delivery::Json => InBody::Both,
        Delivery::Hybrid => InBody::AccessOnly,
        Delivery::Cookies => InBody::Neither,
    };
    let mut answer = reply::json(
        StatusCode::OK,
        &TokensView::of(grant, in_body, now, asked.api),
    )?;
    let delivery = asked.call.mount.delivery;
    cookie::hand_over(
        answer.headers_mut(),
        &settings.cookies,
        delivery,
        grant,
        now,
    );
    Ok(answer)
}
