//! How does a client create and read its account, and change the password?
//!
//! `POST /signup`, `GET /me`, `POST /password`.

use http::StatusCode;
use serde::Serialize;

use crate::api::call::Call;
use crate::api::error::ApiError;
use crate::api::native::view::{SessionView, UserView};
use crate::api::wire::body::Presence;
use crate::api::wire::fields::Fields;
use crate::api::wire::reply::{self, Answer};
use crate::service::SignupRequest;
use crate::types::login::{BadLogin, LoginName};
use crate::types::secret::Password;
use crate::types::shown::shown;

/// The longest display name, in bytes.
const MAX_NAME: usize = 128;

/// The longest login name, in bytes.
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

pub(super) async fn signup(call: Call) -> Result<Answer, ApiError> {
    let mut fields = call.json(Presence::Required)?;
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
    let user = call.state.service.signup(request, &call.caller).await?;
    reply::json(
        StatusCode::CREATED,
        &UserReply {
            user: UserView::of(&user),
        },
    )
}

pub(super) async fn me(call: Call) -> Result<Answer, ApiError> {
    let identity = call.identity().await?;
    let (user, session) = call.state.service.me(&identity.session).await?;
    let view = SessionView::of(&session, identity.session.id, &call.state);
    reply::json(
        StatusCode::OK,
        &MeReply {
            user: UserView::of(&user),
            session: view,
        },
    )
}

pub(super) async fn password(call: Call) -> Result<Answer, ApiError> {
    let identity = call.identity_for_write().await?;
    let mut fields = call.json(Presence::Required)?;
    let current = password_field(&mut fields, "current")?;
    let new = password_field(&mut fields, "new")?;
    fields.finish()?;
    let caller = &call.caller;
    call.state
        .service
        .change_password(&identity.session, current, new, caller)
        .await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// A password: any text within the length limits.
pub(super) fn password_field(
    fields: &mut Fields,
    name: &'static str,
) -> Result<Password, ApiError> {
    // NFKC can lengthen a text. The limit applies to the result.
    let text = fields.text(name, Password::MAX_BYTES)?;
    Password::new(text).map_err(|error| ApiError::InvalidField {
        field: name,
        detail: error.to_string(),
    })
}

/// A text that will be displayed, or none.
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
