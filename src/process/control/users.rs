//! How are an operator's commands about accounts executed?

use crate::control::reply::{Reply, UserView};
use crate::model::user::User;
use crate::process::control::outcome::{no_user, page, text};
use crate::process::control::view;
use crate::service::{AuthError, Service, SignupRequest};
use crate::types::ids::UserId;
use crate::types::login::{BadLogin, LoginName};
use crate::types::named::Named;
use crate::types::role::{Role, Roles};
use crate::types::secret::{Password, SecretText};
use crate::types::shown::shown;

/// A new account, as typed.
pub(crate) struct NewUser {
    pub(crate) username: String,
    pub(crate) email: Option<String>,
    pub(crate) mobile: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) roles: Vec<Role>,
    pub(crate) password: SecretText,
}

pub(crate) async fn add(service: &Service, new: NewUser) -> Result<Reply, String> {
    let NewUser {
        username,
        email,
        mobile,
        name,
        roles,
        password,
    } = new;
    let bad = |error: BadLogin| error.to_string();
    let name = name.map(|name| shown(&name)).transpose();
    let name = name.map_err(|error| format!("name {error}"))?.flatten();
    let request = SignupRequest {
        username: LoginName::username(&username).map_err(bad)?,
        email: email
            .map(|e| LoginName::email(&e))
            .transpose()
            .map_err(bad)?,
        mobile: mobile
            .map(|m| LoginName::mobile(&m))
            .transpose()
            .map_err(bad)?,
        name,
        password: secret(&password)?,
    };
    let roles = Roles::new(roles).map_err(|error| error.to_string())?;
    let user = service.operator_add(request, roles).await.map_err(text)?;
    Ok(Reply::User(Box::new(view_of(service, &user).await?)))
}

pub(crate) async fn list(
    service: &Service,
    after: Option<String>,
    limit: u32,
) -> Result<Reply, String> {
    let after: Option<UserId> = after
        .map(|id| id.parse().map_err(|_| "after: not a user id".to_owned()))
        .transpose()?;
    let limit = page(limit);
    let users = service.operator_users(after, limit).await.map_err(text)?;
    let full = users.len() == limit;
    let next = users
        .last()
        .filter(|_| full)
        .map(|user| user.key.user.to_string());
    let mut views = Vec::with_capacity(users.len());
    for user in &users {
        views.push(view_of(service, user).await?);
    }
    Ok(Reply::Users { users: views, next })
}

pub(crate) async fn show(service: &Service, user: &Named) -> Result<Reply, String> {
    let found = find(service, user).await?;
    Ok(Reply::User(Box::new(view_of(service, &found).await?)))
}

pub(crate) async fn set_password(
    service: &Service,
    user: &Named,
    password: SecretText,
) -> Result<Reply, String> {
    let password = secret(&password)?;
    let set = service.operator_set_password(user, password).await;
    set.map_err(text)?.ok_or_else(|| no_user(user))?;
    Ok(Reply::Done(format!(
        "{user} has a new password; all its sessions have ended"
    )))
}

pub(crate) async fn set_roles(
    service: &Service,
    user: &Named,
    roles: Vec<Role>,
) -> Result<Reply, String> {
    let roles = Roles::new(roles).map_err(|error| error.to_string())?;
    changed(service, user, service.operator_set_roles(user, roles).await).await
}

pub(crate) async fn enable(service: &Service, user: &Named) -> Result<Reply, String> {
    changed(service, user, service.operator_enable(user).await).await
}

pub(crate) async fn disable(service: &Service, user: &Named) -> Result<Reply, String> {
    changed(service, user, service.operator_disable(user).await).await
}

pub(crate) async fn verify(service: &Service, user: &Named) -> Result<Reply, String> {
    changed(service, user, service.operator_verify(user).await).await
}

pub(crate) async fn unlock(service: &Service, user: &Named) -> Result<Reply, String> {
    let any = service.operator_unlock(user).await.map_err(text)?;
    Ok(Reply::Done(if any.ok_or_else(|| no_user(user))? {
        format!("{user} can log in again")
    } else {
        format!("{user} was not locked")
    }))
}

pub(crate) async fn delete(service: &Service, user: &Named) -> Result<Reply, String> {
    if service.operator_delete(user).await.map_err(text)? {
        Ok(Reply::Done(format!(
            "{user} is deleted and all its sessions have ended"
        )))
    } else {
        Err(no_user(user))
    }
}

/// The reply with a changed account.
async fn changed(
    service: &Service,
    user: &Named,
    outcome: Result<Option<User>, AuthError>,
) -> Result<Reply, String> {
    let changed = outcome.map_err(text)?.ok_or_else(|| no_user(user))?;
    Ok(Reply::User(Box::new(view_of(service, &changed).await?)))
}

/// The account of this name or id.
pub(crate) async fn find(service: &Service, user: &Named) -> Result<User, String> {
    let found = service.operator_find(user).await.map_err(text)?;
    found.ok_or_else(|| no_user(user))
}

async fn view_of(service: &Service, user: &User) -> Result<UserView, String> {
    let locked = service.operator_locked_until(user).await;
    Ok(view::user(user, locked.map_err(text)?))
}

fn secret(password: &SecretText) -> Result<Password, String> {
    Password::new(password.expose().to_owned()).map_err(|error| error.to_string())
}
