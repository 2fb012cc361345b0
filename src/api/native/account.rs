//! `POST /signup`, `GET /me`, `POST /password`.

use bytes::Bytes;
use http::StatusCode;
use http_body::Body;
use serde::Serialize;

use crate::api::Answer;
use crate::api::error::ApiError;
use crate::api::native::Asked;
use crate::api::native::view::{SessionView, UserView};
use crate::api::wire::body::Presence;
use crate::api::wire::fields::Fields;
use crate::api::wire::reply;
use crate::service::SignupRequest;
use crate::types::login::{BadLogin, LoginName};
use crate::types::secret::Password;
use crate::types::shown::shown;

/// The longest display name, in bytes.
const MAX_NAME: usize = 128;

/// The longest login name as typed, in bytes.
pub(super) const MAX_LOGIN: usize = 320;

#[derive(Serialize)]
struct UserReply {
    user: UserView,
}

#[derive(Serialize)]
struct MeReply {
    user: UserView,
    session: SessionView,
}

pub(super) async fn signup<B>(asked: &Asked<'_>, body: B) -> Result<Answer, ApiError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut fields = asked.object(body, Presence::Required).await?;
    let login = |field, text: Result<LoginName, BadLogin>| {
        text.map_err(|error| ApiError::InvalidField {
            field,
            detail: error.to_string(),
        })
    };
    let username = fields.text("username", MAX_LOGIN)?;
    let email = fields.optional_text("email", MAX_LOGIN)?;
    let mobile = fields.optional_text("mobile", MAX_LOGIN)?;
    let name = fields.optional_text("name", MAX_NAME)?;
    let request = SignupRequest {
        username: login("username", LoginName::username(&username))?,
        email: email
            .map(|text| login("email", LoginName::email(&text)))
            .transpose()?,
        mobile: mobile
            .map(|text| login("mobile", LoginName::mobile(&text)))
            .transpose()?,
        name: display_text("name", name)?,
        password: password_field(&mut fields, "password")?,
    };
    fields.finish()?;
    let user = asked
        .api
        .service
        .signup(request, &asked.call.caller)
        .await?;
    reply::json(
        StatusCode::CREATED,
        &UserReply {
            user: UserView::of(&user),
        },
    )
}

pub(super) async fn me(asked: &Asked<'_>) -> Result<Answer, ApiError> {
    let identity = asked.caller().await?;
    let (user, session) = asked.api.service.me(&identity.session).await?;
    let view = SessionView::of(&session, identity.session.id, asked.api);
    reply::json(
        StatusCode::OK,
        &MeReply {
            user: UserView::of(&user),
            session: view,
        },
    )
}

pub(super) async fn password<B>(asked: &Asked<'_>, body: B) -> Result<Answer, ApiError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let identity = asked.writer().await?;
    let mut fields = asked.object(body, Presence::Required).await?;
    let current = password_field(&mut fields, "current")?;
    let new = password_field(&mut fields, "new")?;
    fields.finish()?;
    let caller = &asked.call.caller;
    asked
        .api
        .service
        .change_password(&identity.session, current, new, caller)
        .await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// A password as typed: any text within the length limits.
pub(super) fn password_field(
    fields: &mut Fields,
    name: &'static str,
) -> Result<Password, ApiError> {
    // NFKC can lengthen a text; the limit on the result is the one that counts.
    let text = fields.text(name, Password::MAX_BYTES)?;
    Password::new(text).map_err(|error| ApiError::InvalidField {
        field: name,
        detail: error.to_string(),
    })
}

/// Text that will be shown, or none.
pub(super) fn display_text(
    field: &'static str,
    text: Option<String>,
) -> Result<Option<String>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    shown(&text).map_err(|error| ApiError::InvalidField {
        field,
        detail: error.to_string(),
    })
}
