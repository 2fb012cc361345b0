//! Where does the command line read and write?

use std::io::{self, Write};

use crate::types::random::Random;
use crate::types::secret::SecretText;

/// The input and output of the command line. Tests replace them.
pub struct Console<'a> {
    /// Results are written here.
    pub out: &'a mut dyn Write,
    /// Errors and questions are written here.
    pub err: &'a mut dyn Write,
    /// Shows a question and reads a password.
    pub password: &'a mut dyn FnMut(&str) -> io::Result<SecretText>,
    /// The environment variables.
    pub env: Vec<(String, String)>,
    /// Generates passwords.
    pub random: &'a dyn Random,
}

impl std::fmt::Debug for Console<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Console(..)")
    }
}

/// Writes a line. A closed pipe (`| head`) is not an error.
pub(super) fn print_line(to: &mut dyn Write, text: &str) {
    drop(writeln!(to, "{text}"));
    drop(to.flush());
}
