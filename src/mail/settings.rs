//! Which settings does mail have?

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use lettre::message::Mailbox;

use crate::types::language::Language;
use crate::types::secret::SecretText;

pub use crate::mail::templates::{BadTemplate, Templates};

/// How mails are written and sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where they are handed over.
    pub transport: Transport,
    /// The sender.
    pub from: Sender,
    /// The texts.
    pub templates: Arc<Templates>,
    /// The language of a mail whose cause names none of ours.
    pub language: Language,
}

/// Where mails are handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// They are written to the log.
    Log,
    /// They are written to files in this directory.
    Files(PathBuf),
    /// They are sent to a mail server.
    Server(Server),
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log => f.write_str("into the log"),
            Self::Files(directory) => write!(f, "files in {}", directory.display()),
            Self::Server(server) => {
                let security = match server.security {
                    Security::Tls => "TLS",
                    Security::StartTls => "STARTTLS required",
                    Security::IfOffered => "STARTTLS if offered",
                };
                write!(f, "{}, port {}, {security}", server.host, server.port)
            }
        }
    }
}

/// A mail server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name or address. An IPv6 address has no brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub security: Security,
    /// A file of certificates that are trusted beside the system's.
    pub ca: Option<PathBuf>,
    /// User name and password.
    pub login: Option<(String, SecretText)>,
}

/// How the connection to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte.
    Tls,
    /// STARTTLS. Without it nothing is sent.
    StartTls,
    /// STARTTLS if the server offers it.
    IfOffered,
}

/// The sender of all mails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender(Mailbox);

impl Sender {
    /// Parses `Name <address>` or an address.
    pub fn parse(text: &str) -> Result<Self, BadSender> {
        if text.chars().any(char::is_control) {
            return Err(BadSender("it contains a control character".to_owned()));
        }
        let parsed = text.parse::<Mailbox>();
        parsed
            .map(Self)
            .map_err(|error| BadSender(error.to_string()))
    }

    pub(super) fn mailbox(&self) -> &Mailbox {
        &self.0
    }

    /// The domain of the address.
    pub fn domain(&self) -> &str {
        self.0.email.domain()
    }

    /// The name of the service, for the texts: the display name, or the domain.
    pub fn service(&self) -> &str {
        self.0.name.as_deref().unwrap_or(self.domain())
    }
}

/// The text is not a sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is no sender: {0}")]
pub struct BadSender(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_an_address_with_or_without_a_name() {
        let named = Sender::parse("Sidegate <no-reply@localhost>").unwrap();
        assert_eq!((named.service(), named.domain()), ("Sidegate", "localhost"));
        let plain = Sender::parse("no-reply@example.org").unwrap();
        assert_eq!(plain.service(), "example.org");
        for wrong in [
            "",
            "Sidegate",
            "a@",
            "@b",
            "a@b\r\nBcc: c@d",
            "A <a@b> c",
            "a@b, c@d",
        ] {
            assert!(Sender::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
