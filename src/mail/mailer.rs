//! Where is a message handed over? To a mail server, a directory or the log, within a deadline.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::HEXLOWER;
use lettre::address::Envelope;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{Error, response::Severity};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::files;
use crate::mail::letter::Letter;
use crate::mail::message::message;
use crate::mail::settings::{Security, Server, Settings, Transport};
use crate::tls::{self, BadFile};

/// The time that one delivery may take.
const DELIVERY: Duration = Duration::from_secs(30);

/// The longest text of a mail server that is logged, in characters.
const MAX_REPLY: usize = 200;

/// Delivers mails.
#[derive(Debug)]
pub struct Mailer {
    settings: Settings,
    route: Route,
}

/// Where messages are handed over.
#[derive(Debug)]
enum Route {
    Server(AsyncSmtpTransport<Tokio1Executor>),
    Files(PathBuf),
    Log,
}

/// Why a mail was not delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Another attempt can succeed.
    #[error("{0}")]
    Later(String),
    /// No attempt can succeed.
    #[error("{0}")]
    Refused(String),
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadMail {
    /// The file of certificates.
    #[error("mail.ca: {0}")]
    Ca(#[from] BadFile),
    /// A certificate in it, or the name of the server.
    #[error("mail.transport: {0}")]
    Server(#[from] Error),
    /// The directory of files.
    #[error("mail.transport: {0} cannot be created: {1}")]
    Directory(String, io::Error),
}

impl Mailer {
    /// A mailer with these settings. Nothing is connected: a mail server that is away does not matter here.
    pub fn new(settings: &Settings) -> Result<Self, BadMail> {
        let route = match &settings.transport {
            Transport::Server(server) => Route::Server(connector(server, settings.from.domain())?),
            Transport::Files(directory) => {
                files::make_directory(directory)
                    .map_err(|error| BadMail::Directory(directory.display().to_string(), error))?;
                Route::Files(directory.clone())
            }
            Transport::Log => Route::Log,
        };
        Ok(Self {
            settings: settings.clone(),
            route,
        })
    }

    /// Delivers a letter under this id, which also is its Message-ID.
    pub async fn deliver(&self, letter: &Letter, id: [u8; 16]) -> Result<(), Failure> {
        let message = message(&self.settings, letter, id)?;
        let bytes = message.formatted();
        match &self.route {
            Route::Log => {
                let mail = String::from_utf8_lossy(&bytes);
                tracing::info!(to = %letter.to, %mail, "a mail");
                Ok(())
            }
            Route::Files(directory) => {
                let directory = directory.clone();
                let written = spawn_blocking(move || write(&directory, id, &bytes)).await;
                let written = written.unwrap_or_else(|error| Err(io::Error::other(error)));
                written.map_err(|error| Failure::Later(error.to_string()))
            }
            Route::Server(server) => send(server, message.envelope(), &bytes).await,
        }
    }
}

async fn send(
    server: &AsyncSmtpTransport<Tokio1Executor>,
    envelope: &Envelope,
    bytes: &[u8],
) -> Result<(), Failure> {
    match timeout(DELIVERY, server.send_raw(envelope, bytes)).await {
        Ok(Ok(response)) if response.code().severity == Severity::PositiveCompletion => Ok(()),
        Ok(Ok(response)) => Err(Failure::Later(format!("the reply {}", response.code()))),
        Ok(Err(error)) => {
            let text: String = describe(&error).chars().take(MAX_REPLY).collect();
            if is_final(&error) {
                Err(Failure::Refused(text))
            } else {
                Err(Failure::Later(text))
            }
        }
        Err(_) => Err(Failure::Later(format!(
            "not delivered within {} s",
            DELIVERY.as_secs()
        ))),
    }
}

/// Whether the server refused this mail for good. A refused log-in (530 to 538, RFC 4954) concerns the settings, not
/// the mail.
fn is_final(error: &Error) -> bool {
    let code = error.status().map(|code| code.to_string());
    let is_log_in = matches!(code.as_deref(), Some("530" | "534" | "535" | "538"));
    error.is_permanent() && !is_log_in
}

/// The error with its causes.
fn describe(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

fn connector(server: &Server, domain: &str) -> Result<AsyncSmtpTransport<Tokio1Executor>, BadMail> {
    let mut parameters = TlsParameters::builder(server.host.clone());
    for certificate in tls::client::system_certificates() {
        parameters = parameters.add_root_certificate(Certificate::from_der(certificate)?);
    }
    if let Some(path) = &server.ca {
        for certificate in tls::chain(path)? {
            let certificate = Certificate::from_der(certificate.as_ref().to_vec())?;
            parameters = parameters.add_root_certificate(certificate);
        }
    }
    let parameters = parameters.build_rustls()?;
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&server.host)
        .port(server.port)
        .timeout(Some(DELIVERY))
        .hello_name(ClientId::Domain(domain.to_owned()))
        .tls(match server.security {
            Security::Tls => Tls::Wrapper(parameters),
            Security::StartTls => Tls::Required(parameters),
            Security::IfOffered => Tls::Opportunistic(parameters),
        });
    if let Some((username, password)) = &server.login {
        let password = password.expose().to_owned();
        builder = builder
            .credentials(Credentials::new(username.clone(), password))
            .authentication(vec![Mechanism::Plain, Mechanism::Login]);
    }
    Ok(builder.build())
}

/// Writes a file of mode 0600 as a whole. A mail that is delivered again replaces its file.
fn write(directory: &Path, id: [u8; 16], bytes: &[u8]) -> io::Result<()> {
    let name = HEXLOWER.encode(&id);
    let (part, whole) = (
        directory.join(format!(".{name}.part")),
        directory.join(format!("{name}.eml")),
    );
    let mut options = files::private();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .open(&part)?;
    files::give_to_owner(&file, directory)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(part, whole)
}
