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
use crate::service::{AuthError, Grant, LoginRequest};
use crate::types::ids::DeviceId;
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
    asked.may_set_cookies()?;
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
    let service = &asked.api.service;
    let first = *caller.device.get_or_insert_with(|| service.fresh_device());
    let grant = service.login(request, &mut caller).await?;
    let device = caller.device.unwrap_or(first);
    let mut answer = tokens(asked, &grant, Others::Go, Some(device))?;
    if asked.uses_cookies() {
        cookie::name_device(answer.headers_mut(), &asked.api.settings.cookies, device);
    }
    Ok(answer)
}

pub(super) async fn refresh<B>(asked: &Asked<'_>, body: B) -> Result<Answer, ApiError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    asked.may_set_cookies()?;
    let token = match shown_refresh(asked, body).await? {
        Some(token) => token,
        None => kept_refresh(asked).await?,
    };
    let grant = asked
        .api
        .service
        .refresh(token.expose(), &asked.call.caller)
        .await?;
    tokens(asked, &grant, Others::Stay, None)
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

/// The refresh token that our cookie carries. The cookie is used, so the call has to come from a page
/// of ours.
async fn kept_refresh(asked: &Asked<'_>) -> Result<SecretText, ApiError> {
    let copies = asked.api.refresh_cookies(asked.headers);
    if copies.is_empty() {
        return Err(ApiError::Auth(AuthError::InvalidRefreshToken));
    }
    csrf::check(asked.call, asked.headers, &asked.api.settings)?;
    Ok(asked.api.service.choose_refresh(copies).await?)
}

/// Whether copies of our cookies that the browser holds beside those we set are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Others {
    Go,
    Stay,
}

/// The answer that carries tokens, in the body or in cookies as the mount says. `device` is included
/// where the client keeps tokens itself.
fn tokens(
    asked: &Asked<'_>,
    grant: &Grant,
    others: Others,
    device: Option<DeviceId>,
) -> Result<Answer, ApiError> {
    let settings = &asked.api.settings;
    let now = asked.api.service.now();
    let in_body = match asked.call.mount.delivery {
        Delivery::Json => InBody::Both,
        Delivery::Hybrid => InBody::AccessOnly,
        Delivery::Cookies => InBody::Neither,
    };
    let view = TokensView::of(grant, in_body, now, asked.api);
    let device = device.filter(|_| in_body != InBody::Neither);
    let mut answer = reply::json(StatusCode::OK, &view.with_device(device))?;
    let delivery = asked.call.mount.delivery;
    if others == Others::Go && asked.uses_cookies() {
        // First, since there are browsers that take a copy for the same cookie.
        let copies = asked.copies();
        copies.remove_others(answer.headers_mut(), &settings.cookies);
    }
    cookie::hand_over(
        answer.headers_mut(),
        &settings.cookies,
        delivery,
        grant,
        now,
    );
    Ok(answer)
}
