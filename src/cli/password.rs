//! How does the command line read or generate a password?
//!
//! It is read from standard input. A terminal does not show it.

use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::os::fd::AsFd as _;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::files;
use crate::types::random::Random;
use crate::types::secret::SecretText;

/// Reads one line. At a terminal, the input is hidden and must be typed twice. From a pipe or file, the first
/// line is used unchanged.
///
/// # Errors
/// When the input is empty, or when the two lines differ.
pub(super) fn read(question: &str) -> io::Result<SecretText> {
    let input = io::stdin();
    if !input.is_terminal() {
        warn_of_open_file(&input);
        return line(&mut input.lock());
    }
    let first = hidden(question)?;
    let second = hidden("once more")?;
    if first == second {
        Ok(first)
    } else {
        Err(io::Error::other("the two passwords differ"))
    }
}

/// Warns when other users can read the file of the password.
fn warn_of_open_file(input: &io::Stdin) {
    let Ok(file) = input.as_fd().try_clone_to_owned().map(File::from) else {
        return;
    };
    let is_file = file.metadata().is_ok_and(|found| found.is_file());
    let name = std::fs::read_link("/proc/self/fd/0").ok();
    if let Some(open) = name
        .filter(|_| is_file)
        .and_then(|name| files::open_to_others(&name))
    {
        // A warning only: the password is used.
        drop(writeln!(io::stderr(), "sidegate: {open}"));
    }
}

/// A random password of 120 bits, in six groups of letters and digits that are hard to confuse.
pub(super) fn generate(random: &dyn Random) -> SecretText {
    let mut bytes = Zeroizing::new([0u8; 24]);
    random.fill(bytes.as_mut_slice());
    let mut text = String::with_capacity(30);
    for (index, byte) in bytes.iter().enumerate() {
        if index > 0 && index % 4 == 0 {
            text.push('-');
        }
        let symbol = ALPHABET.get(usize::from(byte & 31)).copied();
        text.extend(symbol.map(char::from));
    }
    SecretText::new(text)
}

fn hidden(question: &str) -> io::Result<SecretText> {
    let mut err = io::stderr();
    write!(err, "{question}: ")?;
    err.flush()?;
    let echo_off = EchoOff::begin()?;
    let typed = line(&mut io::stdin().lock());
    drop(echo_off);
    writeln!(err)?;
    typed
}

/// The first line without its end.
fn line(input: &mut dyn BufRead) -> io::Result<SecretText> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_LINE));
    // The buffer never grows, so no copy of the password is left behind.
    input.take(MAX_LINE as u64).read_until(b'\n', &mut bytes)?;
    if bytes.len() == MAX_LINE {
        return Err(io::Error::other("the password is too long"));
    }
    let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    match std::str::from_utf8(text) {
        Ok("") => Err(io::Error::other("there is no password on standard input")),
        Ok(text) => Ok(SecretText::new(text)),
        Err(_) => Err(io::Error::other("the password is not UTF-8")),
    }
}

/// Turns off the echo of the terminal until it is dropped.
struct EchoOff {
    before: Termios,
}

impl EchoOff {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self { before })
    }
}

impl Drop for EchoOff {
    fn drop(&mut self) {
        if tcsetattr(io::stdin(), OptionalActions::Now, &self.before).is_err() {
            // Nothing else can be done. The shell restores the terminal.
        }
    }
}

/// Thirty-two symbols without i, l, o and u (Crockford's base 32).
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// The length at which a line is too long; far above any password.
const MAX_LINE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::random::SeededRandom;

    #[test]
    fn one_line_is_read_unchanged() {
        for (input, password) in [
            ("blue kettle\n", "blue kettle"),
            ("blue kettle\r\nmore\n", "blue kettle"),
            (" spaces stay ", " spaces stay "),
        ] {
            let got = line(&mut input.as_bytes()).unwrap();
            assert_eq!(got.expose(), password);
        }
    }

    #[test]
    fn an_empty_oversized_or_non_utf8_password_is_refused() {
        let long = vec![b'x'; MAX_LINE];
        for bad in [&b""[..], b"\n", b"\r\n", b"\xff\n", &long] {
            assert!(line(&mut &*bad).is_err());
        }
    }

    #[test]
    fn a_generated_password_has_six_groups_and_is_never_the_same() {
        let random = SeededRandom::new(1);
        let (one, two) = (generate(&random), generate(&random));
        assert_eq!(one.expose().len(), 29);
        assert_eq!(one.expose().split('-').count(), 6);
        assert_ne!(one, two);
    }
}
