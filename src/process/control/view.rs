//! Which text does an operator see of accounts, sessions, keys and records? Everything except secrets.

use crate::audit::Checked;
use crate::control::reply::{
    AuditFiles, AuditView, BackupView, EndingView, KeyView, SessionView, UserView,
};
use crate::model::audit::AuditRecord;
use crate::model::session::Session;
use crate::model::user::{User, UserStatus};
use crate::service::{EndAll, SnapshotStart};
use crate::tokens::keys::{Keys, RingKey};
use crate::types::time::Timestamp;

/// An account, and until when it is locked.
pub(crate) fn user(user: &User, locked_until: Option<Timestamp>) -> UserView {
    UserView {
        id: user.key.user.to_string(),
        tenant: user.key.tenant.to_string(),
        username: user.username.as_ref().map(ToString::to_string),
        email: user.email.as_ref().map(ToString::to_string),
        email_verified: user.verified_email().is_some(),
        mobile: user.mobile.as_ref().map(ToString::to_string),
        mobile_verified: user.verified_mobile().is_some(),
        name: user.name.clone(),
        roles: user.roles.iter().map(ToString::to_string).collect(),
        status: match user.status {
            UserStatus::Enabled => "enabled".to_owned(),
            UserStatus::Disabled => "disabled".to_owned(),
        },
        locked_until: locked_until.map(|until| until.to_string()),
        created_at: user.created_at.to_string(),
        updated_at: user.updated_at.to_string(),
    }
}

/// The signing keys with their present states.
pub(crate) fn keys(keys: &Keys, now: Timestamp) -> Vec<KeyView> {
    let ring = keys.ring();
    let signer = ring.signer(now).map(RingKey::id);
    ring.iter()
        .map(|key| KeyView {
            id: key.id().to_owned(),
            purpose: "access".to_owned(),
            algorithm: key.algorithm().as_str().to_owned(),
            state: state(key, signer, now).to_owned(),
            created_at: key.validity().created_at.to_string(),
        })
        .collect()
}

/// The present state of a key.
fn state(key: &RingKey, signer: Option<&str>, now: Timestamp) -> &'static str {
    if signer == Some(key.id()) {
        "active"
    } else if now < key.validity().signs_from {
        "next"
    } else {
        "old"
    }
}

/// How far the end of all sessions has come.
pub(crate) fn ending(all: EndAll) -> EndingView {
    EndingView {
        found: all.found,
        removed: all.seen,
        ended: all.ended,
        complete: all.is_complete,
    }
}

/// A backup that has begun.
pub(crate) fn backup(begun: &SnapshotStart) -> BackupView {
    BackupView {
        id: begun.id,
        at: begun.at,
        store: Some(begun.store.to_string()),
        commit: begun.commit,
        sessions: begun.sessions,
        users: begun.users,
    }
}

/// A session and its owner.
pub(crate) fn session(session: &Session, owner: Option<&User>) -> SessionView {
    SessionView {
        id: session.key.id.to_string(),
        user_id: session.key.owner.user.to_string(),
        username: owner.map(|user| user.handle().to_owned()),
        device_type: session.device.kind.as_str().to_owned(),
        device_name: session
            .device_label
            .clone()
            .or_else(|| session.device.label()),
        ip_address: session.last_address.map(|address| address.to_string()),
        auth_method: session.proof.method.clone(),
        remembered: session.remembered,
        created_at: session.created_at.to_string(),
        last_active_at: session.last_active_at.to_string(),
        expires_at: session.ends_at().to_string(),
    }
}

/// An entry of the audit log.
pub(crate) fn audit(record: &AuditRecord) -> AuditView {
    AuditView {
        at: record.at.to_string(),
        action: record.action.as_str().to_owned(),
        outcome: record.outcome.clone(),
        user_id: record.user.map(|user| user.to_string()),
        session_id: record.session.map(|session| session.to_string()),
        actor: record.actor.as_str().to_owned(),
        ip_address: record.address.map(|address| address.to_string()),
        request_id: record.request_id.clone(),
        count: record.count,
    }
}

/// The result of the check of the audit files.
pub(crate) fn audit_files(checked: &Checked) -> AuditFiles {
    AuditFiles {
        files: checked.files,
        bytes: checked.bytes,
        records: checked.records,
        fault_count: checked.fault_count,
        faults: checked.faults.iter().map(ToString::to_string).collect(),
    }
}
