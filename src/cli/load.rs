//! From which file and which variables is the configuration read?

use std::cell::RefCell;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use crate::config::problem::{Problem, Problems, Source};
use crate::config::{self, Config, Sources};
use crate::files;

/// Reads the configuration at the start and at each reload.
#[derive(Clone)]
pub struct Loader {
    named: Option<PathBuf>,
    env: Vec<(String, String)>,
}

impl std::fmt::Debug for Loader {
    /// Omits the variables, which may contain secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader")
            .field("named", &self.named)
            .finish_non_exhaustive()
    }
}

impl Loader {
    /// `named` is the file of `--config`, if any.
    pub fn new(named: Option<PathBuf>, env: Vec<(String, String)>) -> Self {
        Self { named, env }
    }

    /// Reads the file, then applies the environment. A named file must exist; `./config.toml` may be missing,
    /// because the environment can set every key.
    ///
    /// # Errors
    ///
    /// All problems of the configuration.
    pub fn load(&self) -> Result<Config, Problems> {
        let secrets = RefCell::new(Vec::new());
        let mut config = config::load(&Sources {
            file: self.text()?,
            env: self.env.clone(),
            read: &|path| {
                secrets.borrow_mut().push(path.to_owned());
                read_small(path)
            },
            cores: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        })?;
        let mut secrets = secrets.into_inner();
        secrets.extend(private_keys(&config).map(Path::to_owned));
        let open = secrets
            .iter()
            .filter_map(|path| files::open_to_others(path));
        config.warnings.extend(open.map(|open| open.to_string()));
        Ok(config)
    }

    /// The source of the configuration, as text.
    pub(super) fn described(&self) -> String {
        let path = self.path();
        if path.exists() {
            path.display().to_string()
        } else {
            "The environment's configuration, without a file,".to_owned()
        }
    }

    fn path(&self) -> &Path {
        self.named.as_deref().unwrap_or(Path::new(DEFAULT_FILE))
    }

    fn text(&self) -> Result<Option<(PathBuf, String)>, Problems> {
        let path = self.path().to_owned();
        let problem = |message: String, hint: Option<String>| {
            Problems(vec![Problem {
                source: Source::Whole(Some(path.clone())),
                key: String::new(),
                message,
                hint,
            }])
        };
        let bytes = match read_small(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound && self.named.is_none() => {
                return Ok(None);
            }
            Err(e) => {
                let hint = "name the configuration with --config FILE".to_owned();
                return Err(problem(format!("cannot be read: {e}"), Some(hint)));
            }
        };
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some((path, text))),
            Err(_) => Err(problem("is not UTF-8".to_owned(), None)),
        }
    }
}

/// The files of private keys for TLS, towards clients and the upstream.
fn private_keys(config: &Config) -> impl Iterator<Item = &Path> {
    let ours = config.server.tls.iter().flat_map(|tls| &tls.pairs);
    let shown = config.proxy.upstream.client_key();
    ours.map(|pair| pair.key.as_path()).chain(shown)
}

/// The variables with our prefix. One that is not UTF-8 is an error with its name.
pub(super) fn environment() -> Result<Vec<(String, String)>, String> {
    let mut variables = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Ok(name) = name.into_string() else {
            continue;
        };
        let ours = name
            .get(..PREFIX.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX));
        match value.into_string() {
            Ok(value) if ours => variables.push((name, value)),
            Err(_) if ours => return Err(name),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(variables)
}

/// Reads a file of bounded size, so that a device such as `/dev/zero` fails.
pub(super) fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other("larger than 1 MiB"));
    }
    Ok(bytes)
}

const DEFAULT_FILE: &str = "config.toml";
const PREFIX: &str = "SIDEGATE__";
const MAX_FILE: u64 = 1 << 20;
