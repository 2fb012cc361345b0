//! How are an operator's commands about the audit log executed?

use std::time::Duration;

use crate::audit::Query;
use crate::control::reply::Reply;
use crate::control::request::Since;
use crate::model::audit::AuditAction;
use crate::model::user::UserKey;
use crate::process::control::outcome::text;
use crate::process::control::users::find;
use crate::process::control::view;
use crate::service::Service;
use crate::types::ids::{TenantId, UserId};
use crate::types::named::Named;

/// The most audit records of one listing.
const MAX_RECORDS: usize = 10_000;

pub(crate) async fn list(
    service: &Service,
    user: Option<Named>,
    action: Option<AuditAction>,
    since: Option<Since>,
    limit: u32,
) -> Result<Reply, String> {
    let key = match &user {
        // The records of a deleted account are kept.
        Some(Named::Id(id)) => Some(key_of(service, *id).await?),
        Some(user) => Some(find(service, user).await?.key),
        None => None,
    };
    let since = since.map(|since| match since {
        Since::At(moment) => moment,
        Since::Ago(seconds) => service.now().minus(Duration::from_secs(seconds)),
    });
    let query = Query {
        user: key,
        action,
        since,
        limit: (limit as usize).clamp(1, MAX_RECORDS),
    };
    let found = service.operator_audit_find(query).await;
    let found = found.map_err(text)?;
    Ok(Reply::Audit {
        records: found.records.iter().map(view::audit).collect(),
        faults: found.faults.iter().map(ToString::to_string).collect(),
    })
}

async fn key_of(service: &Service, id: UserId) -> Result<UserKey, String> {
    let found = service.operator_find(&Named::Id(id)).await;
    let tenant = TenantId::default();
    Ok(found
        .map_err(text)?
        .map_or(UserKey { tenant, user: id }, |user| user.key))
}

pub(crate) async fn verify(service: &Service) -> Result<Reply, String> {
    let checked = service.operator_audit_check().await;
    Ok(Reply::AuditVerified(view::audit_files(
        &checked.map_err(text)?,
    )))
}
