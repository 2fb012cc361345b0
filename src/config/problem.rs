//! One mistake in the configuration: its place, the key, the message and the remedy.
//! A problem never repeats the value of a secret.

use std::fmt;
use std::path::PathBuf;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The place of the value.
    pub source: Source,
    /// The key's path, e.g. `server.listen`; entries of a list count from 1: `rule[2].path`. Empty
    /// if the mistake belongs to no key.
    pub key: String,
    /// The mistake.
    pub message: String,
    /// The remedy.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::File { path, line, column } => {
                write!(f, "{}:{line}:{column}: ", path.display())?;
            }
            Source::Env(name) => write!(f, "environment variable {name}: ")?,
            Source::Whole(Some(path)) => write!(f, "{}: ", path.display())?,
            Source::Whole(None) => f.write_str("configuration: ")?,
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// The place of a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A place in the file; line and column count from 1, columns in characters.
    File {
        /// The path as it was given.
        path: PathBuf,
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// An environment variable.
    Env(String),
    /// The key is not written anywhere. Holds the file, if there is one.
    Whole(Option<PathBuf>),
}

/// All mistakes, in the order of the file, then of the environment. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    /// One line per problem.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
