//! One order after the other, carried out. What comes of it is told in full: operators own the machine.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use tokio::task::spawn_blocking;

use crate::audit::Query;
use crate::control::reply::{KeyView, Reply, UserView};
use crate::control::request::{Request, SessionsToEnd, Since};
use crate::model::audit::AuditAction;
use crate::model::session::SessionKey;
use crate::model::user::{User, UserKey};
use crate::server::control::{Operator, view};
use crate::server::lifecycle::Phase;
use crate::service::{AuthError, Service, SignupRequest};
use crate::types::ids::{TenantId, UserId};
use crate::types::login::LoginName;
use crate::types::named::Named;
use crate::types::role::{Role, Roles};
use crate::types::secret::{Password, SecretText};
use crate::types::shown::shown;

/// The most entries of one listing.
const MAX_PAGE: usize = 1_000;

/// The most audit records of one listing.
const MAX_RECORDS: usize = 10_000;

impl Operator {
    /// Carries out one order.
    pub async fn execute(&self, request: Request) -> Reply {
        let done = match request {
            Request::Health => return self.health(),
            Request::Drain => return self.drain(),
            Request::Reload => return self.reload().await,
            Request::UsersAdd {
                username,
                email,
                mobile,
                name,
                roles,
                password,
            } => {
                let logins = Logins {
                    username,
                    email,
                    mobile,
                };
                self.add(logins, name, roles, password).await
            }
            Request::UsersList { after, limit } => self.list(after, limit).await,
            Request::UsersShow { user } => self.show(&user).await,
            Request::UsersSetPassword { user, password } => {
                self.set_password(&user, password).await
            }
            Request::UsersSetRoles { user, roles } => self.set_roles(&user, roles).await,
            Request::UsersEnable { user } => {
                self.changed(&user, self.service().operator_enable(&user).await)
                    .await
            }
            Request::UsersDisable { user } => {
                self.changed(&user, self.service().operator_disable(&user).await)
                    .await
            }
            Request::UsersUnlock { user } => self.unlock(&user).await,
            Request::UsersVerify { user } => {
                self.changed(&user, self.service().operator_verify(&user).await)
                    .await
            }
            Request::UsersDelete { user } => self.delete(&user).await,
            Request::SessionsList { user, after, limit } => self.sessions(user, after, limit).await,
            Request::SessionsEnd(which) => self.end(which).await,
            Request::SessionsClear => self.clear().await,
            Request::BackupBegin => self.backup_begin().await,
            Request::BackupNext { id } => self.backup_next(id).await,
            Request::BackupEnd { id } => {
                let ended = self.service().backup_end(id).await.map_err(words);
                ended.map(|()| Reply::Done("the backup is given up".to_owned()))
            }
            Request::KeysList => Ok(Reply::Keys(self.keys())),
            Request::KeysRotate => self.rotate(),
            Request::AuditList {
                user,
                action,
                since,
                limit,
            } => self.audit(user, action, since, limit).await,
            Request::AuditVerify => self.verify_audit().await,
        };
        self.service().audit_settled().await;
        done.unwrap_or_else(Reply::Failed)
    }

    /// The service in force.
    fn service(&self) -> Arc<Service> {
        self.service.load_full()
    }

    fn health(&self) -> Reply {
        match &self.server {
            Some(server) => {
                let (ready, detail) = (server.readiness)();
                Reply::Health { ready, detail }
            }
            None => no_server(),
        }
    }

    fn drain(&self) -> Reply {
        match &self.server {
            Some(server) => {
                server.lifecycle.advance(Phase::Draining);
                Reply::Done(
                    "draining: /readyz says so, connections close after their answer".to_owned(),
                )
            }
            None => no_server(),
        }
    }

    /// Beside the other orders and the probes: files are read and a password is hashed for it.
    async fn reload(&self) -> Reply {
        let Some(server) = &self.server else {
            return no_server();
        };
        let reload = Arc::clone(&server.reload);
        match spawn_blocking(move || reload()).await {
            Ok(Ok(words)) => Reply::Done(words),
            Ok(Err(words)) => Reply::Failed(words),
            Err(_) => Reply::Failed("the reload panicked; the log has more".to_owned()),
        }
    }

    async fn add(
        &self,
        logins: Logins,
        name: Option<String>,
        roles: Vec<Role>,
        password: SecretText,
    ) -> Result<Reply, String> {
        let text = |error: crate::types::login::BadLogin| error.to_string();
        let name = name.map(|name| shown(&name)).transpose();
        let name = name.map_err(|error| format!("name {error}"))?.flatten();
        let request = SignupRequest {
            username: LoginName::username(&logins.username).map_err(text)?,
            email: logins
                .email
                .map(|e| LoginName::email(&e))
                .transpose()
                .map_err(text)?,
            mobile: logins
                .mobile
                .map(|m| LoginName::mobile(&m))
                .transpose()
                .map_err(text)?,
            name,
            password: secret(&password)?,
        };
        let roles = Roles::new(roles).map_err(|error| error.to_string())?;
        let user = self
            .service()
            .operator_add(request, roles)
            .await
            .map_err(words)?;
        Ok(Reply::User(Box::new(self.view_of(&user).await?)))
    }

    async fn list(&self, after: Option<String>, limit: u32) -> Result<Reply, String> {
        let after: Option<UserId> = after
            .map(|id| id.parse().map_err(|_| "after: not a user id".to_owned()))
            .transpose()?;
        let limit = page(limit);
        let users = self
            .service()
            .operator_users(after, limit)
            .await
            .map_err(words)?;
        let full = users.len() == limit;
        let next = users
            .last()
            .filter(|_| full)
            .map(|user| user.key.user.to_string());
        let mut views = Vec::with_capacity(users.len());
        for user in &users {
            views.push(self.view_of(user).await?);
        }
        Ok(Reply::Users { users: views, next })
    }

    async fn show(&self, user: &Named) -> Result<Reply, String> {
        let found = self.find(user).await?;
        Ok(Reply::User(Box::new(self.view_of(&found).await?)))
    }

    async fn set_password(&self, user: &Named, password: SecretText) -> Result<Reply, String> {
        let password = secret(&password)?;
        let set = self.service().operator_set_password(user, password).await;
        set.map_err(words)?.ok_or_else(|| nobody(user))?;
        Ok(Reply::Done(format!(
            "{user} has a new password; all its sessions have ended"
        )))
    }

    async fn set_roles(&self, user: &Named, roles: Vec<Role>) -> Result<Reply, String> {
        let roles = Roles::new(roles).map_err(|error| error.to_string())?;
        self.changed(user, self.service().operator_set_roles(user, roles).await)
            .await
    }

    async fn unlock(&self, user: &Named) -> Result<Reply, String> {
        let any = self.service().operator_unlock(user).await.map_err(words)?;
        Ok(Reply::Done(if any.ok_or_else(|| nobody(user))? {
            format!("{user} can log in again")
        } else {
            format!("{user} was not locked")
        }))
    }

    async fn delete(&self, user: &Named) -> Result<Reply, String> {
        if self.service().operator_delete(user).await.map_err(words)? {
            Ok(Reply::Done(format!(
                "{user} is deleted and all its sessions have ended"
            )))
        } else {
            Err(nobody(user))
        }
    }

    async fn sessions(
        &self,
        user: Option<Named>,
        after: Option<SessionKey>,
        limit: u32,
    ) -> Result<Reply, String> {
        let owner = match &user {
            Some(user) => Some(self.find(user).await?.key),
            None => None,
        };
        let limit = page(limit);
        let asked = self
            .service()
            .operator_sessions(owner.as_ref(), after.clone(), limit + 1)
            .await;
        let mut sessions = asked.map_err(words)?;
        if let (Some(_), Some(after)) = (&owner, after) {
            // One user's sessions come as a whole; the page begins behind the last one.
            let last = sessions.iter().position(|session| session.key == after);
            sessions.drain(..last.map_or(0, |last| last + 1));
        }
        let more = sessions.len() > limit;
        sessions.truncate(limit);
        let last = sessions.last().map(|session| session.key.clone());
        let mut views = Vec::with_capacity(sessions.len());
        for session in &sessions {
            let owner = Named::Id(session.key.owner.user);
            let user = self.service().operator_find(&owner).await.map_err(words)?;
            views.push(view::session(session, user.as_ref()));
        }
        Ok(Reply::Sessions {
            sessions: views,
            next: last.filter(|_| more),
        })
    }

    async fn end(&self, which: SessionsToEnd) -> Result<Reply, String> {
        let ended = match which {
            SessionsToEnd::Id(id) => self.service().operator_end_session(id).await,
            SessionsToEnd::User(user) => {
                let user = self.find(&user).await?;
                self.service().operator_end_user(&user.key).await
            }
            SessionsToEnd::All => {
                let all = self.service().operator_end_all().await.map_err(words)?;
                return Ok(Reply::Ending(view::ending(all)));
            }
        };
        ended.map(|count| Reply::Ended(count as u64)).map_err(words)
    }

    async fn clear(&self) -> Result<Reply, String> {
        let all = self.service().operator_clear_ended().await.map_err(words)?;
        let none = || "the sessions were never ended all at once".to_owned();
        Ok(Reply::Ending(view::ending(all.ok_or_else(none)?)))
    }

    async fn backup_begin(&self) -> Result<Reply, String> {
        let begun = self.service().backup_begin().await.map_err(words)?;
        Ok(Reply::BackupBegun(view::backup(&begun)))
    }

    async fn backup_next(&self, id: u64) -> Result<Reply, String> {
        let page = self.service().backup_next(id).await.map_err(words)?;
        Ok(Reply::BackupPage {
            data: BASE64.encode(&page.bytes),
            last: page.is_last,
        })
    }

    fn rotate(&self) -> Result<Reply, String> {
        self.service().operator_rotate_keys().map_err(words)?;
        Ok(Reply::Keys(self.keys()))
    }

    async fn audit(
        &self,
        user: Option<Named>,
        action: Option<AuditAction>,
        since: Option<Since>,
        limit: u32,
    ) -> Result<Reply, String> {
        let key = match &user {
            // Of an account that is gone the records are still there.
            Some(Named::Id(id)) => Some(self.key_of(*id).await?),
            Some(user) => Some(self.find(user).await?.key),
            None => None,
        };
        let since = since.map(|since| match since {
            Since::At(moment) => moment,
            Since::Ago(seconds) => self.service().now().minus(Duration::from_secs(seconds)),
        });
        let query = Query {
            user: key,
            action,
            since,
            limit: (limit as usize).clamp(1, MAX_RECORDS),
        };
        let found = self.service().operator_audit_find(query).await;
        let found = found.map_err(words)?;
        Ok(Reply::Audit {
            records: found.records.iter().map(view::audit).collect(),
            faults: found.faults.iter().map(ToString::to_string).collect(),
        })
    }

    async fn key_of(&self, id: UserId) -> Result<UserKey, String> {
        let found = self.service().operator_find(&Named::Id(id)).await;
        let tenant = TenantId::default();
        Ok(found
            .map_err(words)?
            .map_or(UserKey { tenant, user: id }, |user| user.key))
    }

    async fn verify_audit(&self) -> Result<Reply, String> {
        let checked = self.service().operator_audit_check().await;
        Ok(Reply::AuditVerified(view::audit_files(
            &checked.map_err(words)?,
        )))
    }

    async fn find(&self, user: &Named) -> Result<User, String> {
        let found = self.service().operator_find(user).await.map_err(words)?;
        found.ok_or_else(|| nobody(user))
    }

    async fn changed(
        &self,
        user: &Named,
        outcome: Result<Option<User>, AuthError>,
    ) -> Result<Reply, String> {
        let changed = outcome.map_err(words)?.ok_or_else(|| nobody(user))?;
        Ok(Reply::User(Box::new(self.view_of(&changed).await?)))
    }

    async fn view_of(&self, user: &User) -> Result<UserView, String> {
        let locked = self.service().operator_locked_until(user).await;
        Ok(view::user(user, locked.map_err(words)?))
    }

    fn keys(&self) -> Vec<KeyView> {
        view::keys(&self.keys, self.service().now())
    }
}

/// The names of a new account, as typed.
struct Logins {
    username: String,
    email: Option<String>,
    mobile: Option<String>,
}

fn nobody(user: &Named) -> String {
    format!("there is no user {user}; `sidegate users list` shows all")
}

fn no_server() -> Reply {
    Reply::Failed("no server is running".to_owned())
}

/// What an operator is told about a failure: everything, they own the machine.
fn words(error: AuthError) -> String {
    match error {
        AuthError::Busy { .. } => "the server is busy hashing passwords; try again".to_owned(),
        other => other.to_string(),
    }
}

fn secret(password: &SecretText) -> Result<Password, String> {
    Password::new(password.expose().to_owned()).map_err(|error| error.to_string())
}

fn page(limit: u32) -> usize {
    usize::try_from(limit)
        .unwrap_or(MAX_PAGE)
        .clamp(1, MAX_PAGE)
}
