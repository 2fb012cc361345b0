//! Why does the process not start? Each message contains the remedy.

use std::io;
use std::path::PathBuf;

use http::HeaderName;

use crate::audit::AuditError;
use crate::control::listener::BindError;
use crate::guard::headers::BadPreset;
use crate::mail::mailer::BadMail;
use crate::net::inherited::BadInheritance;
use crate::policy::PolicyError;
use crate::service::AuthError;
use crate::service::password;
use crate::store::StoreError;
use crate::tls::BadSetup;
use crate::tls::client::BadClient;
use crate::tokens::keys::KeysError;

/// A start that failed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The store.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The rules.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Password hashing.
    #[error(transparent)]
    Passwords(#[from] password::StartError),
    /// TLS towards the upstream.
    #[error(transparent)]
    Upstream(#[from] BadClient),
    /// Mail.
    #[error(transparent)]
    Mail(#[from] BadMail),
    /// The identity headers.
    #[error("headers: {0}")]
    Headers(#[from] BadPreset),
    /// Assertions that nobody could verify.
    #[error(
        "headers.assertion: the application cannot verify assertions that are signed with HS256; \
         set tokens.algorithm to EdDSA, ES256 or RS256 and restart"
    )]
    Assertion,
    /// The revocations could not be read. Without them no request can be authorized.
    #[error("the ended sessions cannot be read from the store: {0}")]
    Revocations(#[source] AuthError),
    /// Certificates of the public listener.
    #[error("server.tls: {0}")]
    Tls(#[from] BadSetup),
    /// The header for the client's certificate has another meaning already.
    #[error("server.tls.client_subject_header: {0} is an identity header; choose another name")]
    SubjectHeader(HeaderName),
    /// A socket.
    #[error("cannot listen on {address}: {error}; choose another {key}")]
    Listen {
        /// The address.
        address: String,
        /// The configuration key that sets it.
        key: &'static str,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// The inherited sockets.
    #[error(transparent)]
    Inherited(#[from] BadInheritance),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] BindError),
    /// The access log's file.
    #[error("cannot write the access log to {}: {error}", path.display())]
    AccessLog {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// A thread or a runtime could not be created.
    #[error("a thread or runtime cannot be created: {0}")]
    System(#[source] io::Error),
}
