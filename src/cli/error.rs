//! Why did a command fail, and with which exit code?

use crate::config::problem::Problems;

/// The failure of a command that was called correctly, as a message for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

impl Failure {
    /// A failure whose message is already in the process log.
    pub fn reported() -> Self {
        Self(String::new())
    }
}

/// Why this process could not execute a request itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfflineError {
    /// Another process holds the store.
    #[error("another process holds the store")]
    StoreLocked,
    /// Any other failure, as a message for the operator.
    #[error("{0}")]
    Failed(String),
}

/// The error of a command. Each variant has an exit code.
#[derive(Debug)]
pub(super) enum CommandError {
    /// The command failed: exit code 1.
    Failed(String),
    /// The configuration is wrong: exit code 2.
    Config(Problems),
    /// The arguments are wrong: exit code 2.
    Usage(String),
}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure.0)
    }
}

impl From<Problems> for CommandError {
    fn from(problems: Problems) -> Self {
        Self::Config(problems)
    }
}
