//! What does a configuration become: which settings, and which messages?

mod any_input;
mod environment;
mod mail;
mod mistakes;
mod secrets;
mod settings;
mod tls;
mod warnings;

use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use crate::config::problem::Problems;
use crate::config::{Config, Sources};

const UPSTREAM: &str = "[upstream]\nurl = \"http://127.0.0.1:3000\"\n";

fn load_with(
    text: Option<&str>,
    env: &[(&str, &str)],
    read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Config, Problems> {
    crate::config::load(&Sources {
        file: text.map(|t| (PathBuf::from("config.toml"), t.to_owned())),
        env: env
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        read,
        cores: NonZeroUsize::new(3).unwrap(),
    })
}

fn no_files(path: &Path) -> io::Result<Vec<u8>> {
    panic!("nothing is to be read, least of all {}", path.display())
}

/// The configuration of a text that is valid once an upstream is added.
fn good(text: &str) -> Config {
    load_with(Some(&format!("{text}\n{UPSTREAM}")), &[], &no_files).unwrap()
}

/// The messages for a text that is refused although it has an upstream.
fn mistakes(text: &str) -> String {
    mistakes_with(text, &[])
}

fn mistakes_with(text: &str, env: &[(&str, &str)]) -> String {
    load_with(Some(&format!("{text}\n{UPSTREAM}")), env, &no_files)
        .expect_err("this configuration must be refused")
        .to_string()
}
