//! The image, the documents and the examples are correct: every path that the image copies exists, and
//! every documented command line parses.
#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn every_path_the_image_copies_exists() {
    let sources = copied_sources();
    assert!(sources.len() >= 4, "only {sources:?}");
    for source in &sources {
        assert!(root().join(source).exists(), "COPY {source}: no such path");
    }
    let ignore = read(".dockerignore");
    for source in &sources {
        let admitted = ignore.lines().any(|l| l == format!("!{source}"));
        assert!(admitted, ".dockerignore keeps {source} from the builder");
    }
}

#[test]
fn the_image_copies_every_file_the_code_embeds() {
    let sources = copied_sources();
    // Files that only tests embed are not needed in the image.
    let built = |path: &String| !path.ends_with("tests.rs") && !path.contains("/tests/");
    for path in files("src", "rs").into_iter().filter(built) {
        let text = read(&path);
        for piece in text.split("include_").skip(1) {
            let Some((_, rest)) = piece.split_once("!(\"") else {
                continue;
            };
            let Some((named, _)) = rest.split_once('"') else {
                continue;
            };
            let folder = Path::new(&path).parent().expect("a file has a folder");
            let target = plain(&folder.join(named));
            let covered = sources.iter().any(|s| target.starts_with(s));
            assert!(covered, "{path} embeds {target:?}, which the image lacks");
        }
    }
}

#[test]
fn the_image_builds_what_the_manifest_offers() {
    let docker = read("Dockerfile");
    let manifest = read("Cargo.toml");
    assert!(docker.contains("--profile dist") && manifest.contains("[profile.dist]"));
    assert!(docker.contains("--features mimalloc") && manifest.contains("\nmimalloc = ["));
    // A target with its own path may be missing until it is built; one without may not.
    for block in manifest.split("\n[[").skip(1) {
        let kind = block.split(']').next().unwrap_or_default();
        let body = block.split("\n[").next().unwrap_or_default();
        let named = body.lines().any(|line| line.starts_with("path = "));
        assert!(
            named || kind == "bin",
            "a [[{kind}]] without a path: the image lacks its file"
        );
    }
}

#[test]
fn the_image_runs_without_root_and_has_a_health_check() {
    let docker = read("Dockerfile");
    let last = docker.rsplit("\nFROM ").next().expect("a last stage");
    assert!(last.starts_with("scratch\n"), "the last stage is scratch");
    for line in [
        "USER 65532:65532",
        "VOLUME [\"/data\"]",
        "STOPSIGNAL SIGTERM",
        "ENTRYPOINT [\"/sidegate\"]",
    ] {
        assert!(last.lines().any(|l| l == line), "the image lacks {line}");
    }
    assert!(last.contains("CMD [\"/sidegate\", \"healthcheck\"]"));
    assert!(!last.contains("RUN "), "a scratch image has no shell");
}

#[test]
fn the_systemd_units_use_the_notifications_of_the_server() {
    let service = read("examples/systemd/sidegate.service");
    for line in [
        "Type=notify-reload",
        "NotifyAccess=main",
        "Requires=sidegate.socket",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
        "DynamicUser=yes",
    ] {
        assert!(
            service.lines().any(|l| l == line),
            "the service lacks {line}"
        );
    }
    let has = |name: &str| service.lines().any(|l| l.starts_with(name));
    assert!(
        has("WatchdogSec=") && !has("ExecReload="),
        "the manager sends SIGHUP itself"
    );
    let seconds = |key: &str| -> u64 {
        let line = service.lines().find_map(|l| l.strip_prefix(key));
        line.and_then(|n| n.parse().ok()).expect("seconds")
    };
    assert!(
        seconds("TimeoutStartSec=") > 60,
        "longer than store.lock_wait"
    );
    assert!(
        seconds("TimeoutStopSec=") > 30,
        "longer than server.drain_timeout"
    );
    let socket = read("examples/systemd/sidegate.socket");
    for line in ["FileDescriptorName=public", "WantedBy=sockets.target"] {
        assert!(socket.lines().any(|l| l == line), "the socket lacks {line}");
    }
    let accepts = socket.lines().any(|l| l.starts_with("Accept=yes"));
    assert!(!accepts, "the server accepts by itself");
}

#[test]
fn every_documented_command_line_parses() {
    let lines = command_lines();
    assert!(lines.len() >= 10, "only {} command lines", lines.len());
    let mut wrong = Vec::new();
    for (place, words) in &lines {
        if let Err(why) = is_understood(words) {
            wrong.push(format!("{place}: sidegate {}: {why}", words.join(" ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_configuration_in_the_repository_is_accepted() {
    let mut checked = 0;
    let examples = files("examples", "toml");
    for path in examples.iter().map(String::as_str).chain(["config.toml"]) {
        let text = read(path);
        text.parse::<toml::Table>()
            .unwrap_or_else(|e| panic!("{path}: {e}"));
        let output = Command::new(env!("CARGO_BIN_EXE_sidegate"))
            .args(["check", "--config", path])
            .current_dir(root())
            .output()
            .expect("the binary runs");
        assert!(
            output.status.success(),
            "{path}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        checked += 1;
    }
    assert!(checked >= 2, "only {checked} configurations");
}

#[test]
fn the_document_parser_finds_the_command_lines() {
    let text = "\
say `sidegate nothing` here\n\
ExecStart=/usr/local/bin/sidegate serve --config /etc/x.toml\n\
HEALTHCHECK --interval=1s CMD [\"/sidegate\", \"healthcheck\"]\n\
CMD [\"serve\"]\n\
          args: [\"serve\", \"--config\", \"/etc/x.toml\"]\n\
```sh\n\
printf 'x' | sidegate users add ann --role admin\n\
cargo run --release -- demo\n\
```\n";
    let found: Vec<String> = lines_of(text).into_iter().map(|w| w.join(" ")).collect();
    assert_eq!(
        found,
        [
            "serve --config /etc/x.toml",
            "healthcheck",
            "serve",
            "serve --config /etc/x.toml",
            "users add ann --role admin",
            "demo",
        ]
    );
}

/// Runs the binary: the subcommand has a help page, and the page names every flag.
fn is_understood(words: &[String]) -> Result<(), String> {
    let is_flag = |w: &&String| w.starts_with('-');
    let subcommand: Vec<&String> = words.iter().take_while(|w| !is_flag(w)).collect();
    // `users add ann`: the last word is an argument, so the longest known command is used.
    for length in (1..=subcommand.len().min(2)).rev() {
        let output = Command::new(env!("CARGO_BIN_EXE_sidegate"))
            .args(&subcommand[..length])
            .arg("--help")
            .output()
            .map_err(|e| e.to_string())?;
        let help = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() || !help.contains("Usage:") {
            continue;
        }
        return match words.iter().filter(is_flag).find(|flag| {
            let name = flag.split('=').next().unwrap_or_default();
            !help.contains(name)
        }) {
            Some(flag) => Err(format!("its help does not know {flag}")),
            None => Ok(()),
        };
    }
    Err("no such command".to_owned())
}

/// Every Sidegate command line in documents and examples, with the name of the file.
fn command_lines() -> Vec<(String, Vec<String>)> {
    let mut places = BTreeSet::from(["Dockerfile".to_owned(), "justfile".to_owned()]);
    for kind in ["md", "yml", "yaml", "service", "toml"] {
        places.extend(files("examples", kind));
        places.extend(files("docs", kind));
    }
    places.extend(["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(str::to_owned));
    let mut lines = Vec::new();
    for place in places {
        for words in lines_of(&read(&place)) {
            lines.push((place.clone(), words));
        }
    }
    lines
}

/// The arguments of every `sidegate ..` in a text: in shell blocks of Markdown, and after `ExecStart=`,
/// `CMD`, `args:`, `test:` and `command:` in the formats of other tools.
fn lines_of(text: &str) -> Vec<Vec<String>> {
    let is_markdown = text.contains("\n```");
    let mut in_shell = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(kind) = line.trim_start().strip_prefix("```") {
            in_shell = matches!(kind, "sh" | "bash" | "console");
            continue;
        }
        let head = line.trim_start();
        let named = ["ExecStart=", "HEALTHCHECK", "test:"]
            .iter()
            .any(|k| head.starts_with(k));
        let bare = ["CMD [", "args: ["].iter().find(|k| head.starts_with(*k));
        let pasted = head.starts_with("# ") && !is_markdown;
        let words: Vec<String> = line
            .replace(['[', ']', '"', ',', '`'], " ")
            .replace("ExecStart=", "ExecStart ")
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        if bare.is_some() {
            found.push(words[1..].to_vec());
        } else if named || in_shell || pasted || head.starts_with("cargo run") {
            found.extend(arguments(&words));
        }
    }
    found.retain(|words| !words.is_empty());
    found
}

/// The arguments after the name of the binary, up to the end of the command.
fn arguments(words: &[String]) -> Option<Vec<String>> {
    let is_ours = |w: &String| w == "sidegate" || w.ends_with("/sidegate");
    let start = words
        .windows(2)
        .position(|pair| {
            let command = pair[1].bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
            (is_ours(&pair[0]) || pair[0] == "--") && command && !pair[1].starts_with('-')
        })
        .map(|at| at + 1)?;
    if words[start - 1] == "--" && words.first().is_none_or(|w| w != "cargo") {
        return None;
    }
    let end = |w: &&String| !matches!(w.as_str(), "|" | "&" | "&&" | ">" | "<" | "\\" | "#" | ";");
    Some(words[start..].iter().take_while(end).cloned().collect())
}

/// The paths that the Dockerfile copies from the repository.
fn copied_sources() -> Vec<String> {
    read("Dockerfile")
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter(|rest| !rest.starts_with("--from"))
        .flat_map(|rest| {
            let mut words: Vec<String> = rest.split_whitespace().map(str::to_owned).collect();
            words.pop();
            words
        })
        .collect()
}

/// Resolves `..` in a path as text.
fn plain(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in path.components() {
        match part.as_os_str().to_string_lossy().as_ref() {
            ".." => {
                parts.pop();
            }
            "." => {}
            name => parts.push(name.to_owned()),
        }
    }
    parts.join("/")
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Files below a directory with this extension, as paths from the root.
fn files(folder: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(next) = folders.pop() {
        let Ok(entries) = fs::read_dir(&next) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                let name = path.strip_prefix(root()).expect("below the root");
                found.push(name.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}
