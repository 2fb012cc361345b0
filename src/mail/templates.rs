//! Which texts do mails have? Those of this program, or files of the operator's folder in their place.
//!
//! A mail has two templates for each language: `NAME.LANGUAGE.txt`, whose first line is `Subject: ...`, and
//! `NAME.LANGUAGE.html`, in which values are escaped. All are compiled and rendered once when they are read, so that
//! a mistake is found at the start and not when the first mail is due.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::mail::letter::{By, Letter, Subject};
use crate::types::language::Language;
use crate::types::time::Timestamp;
use minijinja::{Environment, UndefinedBehavior, Value};

/// The largest template file, in bytes.
const MAX_TEMPLATE: u64 = 64 * 1024;

/// The longest subject line, in characters.
const MAX_SUBJECT: usize = 200;

/// Our templates by the names of their files.
const OURS: [(&str, &str); 8] = [
    (
        "password_changed.en.txt",
        include_str!("templates/password_changed.en.txt"),
    ),
    (
        "password_changed.en.html",
        include_str!("templates/password_changed.en.html"),
    ),
    (
        "password_changed.de.txt",
        include_str!("templates/password_changed.de.txt"),
    ),
    (
        "password_changed.de.html",
        include_str!("templates/password_changed.de.html"),
    ),
    (
        "password_changed.fr.txt",
        include_str!("templates/password_changed.fr.txt"),
    ),
    (
        "password_changed.fr.html",
        include_str!("templates/password_changed.fr.html"),
    ),
    (
        "password_changed.es.txt",
        include_str!("templates/password_changed.es.txt"),
    ),
    (
        "password_changed.es.html",
        include_str!("templates/password_changed.es.html"),
    ),
];

/// Compiled templates.
pub struct Templates {
    sources: BTreeMap<String, String>,
    compiled: Environment<'static>,
}

/// The text of one mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rendered {
    /// The subject line, without control characters.
    pub(super) subject: String,
    /// The plain text.
    pub(super) text: String,
    /// The HTML.
    pub(super) html: String,
}

impl Templates {
    /// Our templates, and those of the folder in their place.
    ///
    /// # Errors
    /// When the folder or a file in it cannot be used. The text names file and line.
    pub fn load(folder: Option<&Path>) -> Result<Self, BadTemplate> {
        let mut sources: BTreeMap<String, String> = OURS
            .iter()
            .map(|(name, source)| ((*name).to_owned(), (*source).to_owned()))
            .collect();
        if let Some(folder) = folder {
            override_with(folder, &mut sources)?;
        }
        let at = |name: &str| folder.map_or_else(|| PathBuf::from(name), |f| f.join(name));
        let mut compiled = Environment::new();
        compiled.set_undefined_behavior(UndefinedBehavior::Strict);
        for (name, source) in &sources {
            let added = compiled.add_template_owned(name.clone(), source.clone());
            added.map_err(|error| BadTemplate::of(&at(name), &error))?;
        }
        let templates = Self { sources, compiled };
        templates.try_all(&at)?;
        Ok(templates)
    }

    /// Renders every template once.
    fn try_all(&self, at: &dyn Fn(&str) -> PathBuf) -> Result<(), BadTemplate> {
        for language in Language::ALL {
            for by in [By::Owner, By::Operator] {
                let letter = Letter {
                    to: "someone@example.org".to_owned(),
                    name: "Someone".to_owned(),
                    language,
                    at: Timestamp::from_secs(1_800_000_000),
                    subject: Subject::PasswordChanged { by, address: None },
                };
                self.render_as(&letter, "Service", at)?;
            }
        }
        Ok(())
    }

    /// The text of a letter from this service.
    pub(super) fn render(&self, letter: &Letter, service: &str) -> Result<Rendered, BadTemplate> {
        self.render_as(letter, service, &|name| PathBuf::from(name))
    }

    fn render_as(
        &self,
        letter: &Letter,
        service: &str,
        at: &dyn Fn(&str) -> PathBuf,
    ) -> Result<Rendered, BadTemplate> {
        let Subject::PasswordChanged { by, address } = &letter.subject;
        let moment = letter.at.to_string();
        let by = match by {
            By::Owner => "owner",
            By::Operator => "operator",
        };
        let address = address.map(|found| found.to_string()).unwrap_or_default();
        let values = Value::from_pairs([
            ("service", service),
            ("name", &letter.name),
            ("date", moment.get(..10).unwrap_or_default()),
            ("time", moment.get(11..16).unwrap_or_default()),
            ("by", by),
            ("address", &address),
        ]);
        let (subject, tag) = (letter.subject.name(), letter.language.as_str());
        let text_name = format!("{subject}.{tag}.txt");
        let text = self.one(&text_name, &values, at)?;
        let html = self.one(&format!("{subject}.{tag}.html"), &values, at)?;
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let first = first.trim_end_matches('\r');
        let subject = first.strip_prefix("Subject:").map(plain_line);
        let subject = subject.filter(|subject| !subject.is_empty());
        let subject = subject.ok_or_else(|| BadTemplate {
            path: at(&text_name),
            line: Some(1),
            why: "the first line must be \"Subject: ...\"".to_owned(),
        })?;
        Ok(Rendered {
            subject,
            text: rest.trim_start_matches(['\r', '\n']).to_owned(),
            html,
        })
    }

    fn one(
        &self,
        name: &str,
        values: &Value,
        at: &dyn Fn(&str) -> PathBuf,
    ) -> Result<String, BadTemplate> {
        let template = self.compiled.get_template(name);
        let text = template.and_then(|template| template.render(values.clone()));
        text.map_err(|error| BadTemplate::of(&at(name), &error))
    }
}

/// Reads the files of the folder. Hidden files are skipped; any other name that is not that of a template is a
/// mistake.
fn override_with(folder: &Path, sources: &mut BTreeMap<String, String>) -> Result<(), BadTemplate> {
    let failed = |path: &Path, error: &io::Error| BadTemplate {
        path: path.to_owned(),
        line: None,
        why: format!("cannot be read: {error}"),
    };
    let entries = fs::read_dir(folder).map_err(|error| failed(folder, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| failed(folder, &error))?;
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let Some(source) = sources.get_mut(&name) else {
            return Err(BadTemplate {
                path,
                line: None,
                why: format!(
                    "is no template; the names are {} with .{{en,de,fr,es}}.{{txt,html}}",
                    Subject::NAMES.join(", ")
                ),
            });
        };
        let size = fs::metadata(&path).map_err(|error| failed(&path, &error))?;
        if size.len() > MAX_TEMPLATE {
            return Err(BadTemplate {
                path,
                line: None,
                why: format!("is larger than {MAX_TEMPLATE} bytes"),
            });
        }
        *source = fs::read_to_string(&path).map_err(|error| failed(&path, &error))?;
    }
    Ok(())
}

/// One line of text: control characters become spaces.
fn plain_line(text: &str) -> String {
    let plain = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_SUBJECT);
    plain.collect::<String>().trim().to_owned()
}

impl PartialEq for Templates {
    fn eq(&self, other: &Self) -> bool {
        self.sources == other.sources
    }
}

impl Eq for Templates {}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Templates")
            .field("names", &self.sources.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// A template, or the folder, that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct BadTemplate {
    path: PathBuf,
    line: Option<usize>,
    why: String,
}

impl BadTemplate {
    fn of(path: &Path, error: &minijinja::Error) -> Self {
        let kind = error.kind();
        Self {
            path: path.to_owned(),
            line: error.line(),
            why: match error.detail() {
                Some(detail) => format!("{kind}: {detail}"),
                None => kind.to_string(),
            },
        }
    }
}

impl fmt::Display for BadTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}", self.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(name: &str, language: Language) -> Letter {
        Letter {
            to: "ann@example.org".to_owned(),
            name: name.to_owned(),
            language,
            at: Timestamp::from_secs(1_800_000_000),
            subject: Subject::PasswordChanged {
                by: By::Owner,
                address: "192.0.2.7".parse().ok(),
            },
        }
    }

    #[test]
    fn every_language_has_its_own_text_with_the_facts_in_it() {
        let templates = Templates::load(None).unwrap();
        let mut subjects = Vec::new();
        for language in Language::ALL {
            let rendered = templates.render(&letter("Ann", language), "Acme").unwrap();
            for text in [&rendered.text, &rendered.html] {
                for fact in ["Ann", "Acme", "2027-01-15", "08:00", "192.0.2.7"] {
                    assert!(text.contains(fact), "{language:?}: {fact} in {text}");
                }
            }
            assert!(
                rendered
                    .html
                    .contains(&format!("lang=\"{}\"", language.as_str()))
            );
            subjects.push(rendered.subject);
        }
        subjects.dedup();
        assert_eq!(subjects.len(), 4, "{subjects:?}");
    }

    #[test]
    fn values_are_escaped_in_html_and_only_there() {
        let templates = Templates::load(None).unwrap();
        let hostile = "<script>alert('&')</script>";
        let rendered = templates
            .render(&letter(hostile, Language::En), "Acme")
            .unwrap();
        assert!(rendered.text.contains(hostile), "{}", rendered.text);
        assert!(!rendered.html.contains("<script>"), "{}", rendered.html);
        assert!(
            rendered.html.contains("&lt;script&gt;"),
            "{}",
            rendered.html
        );
    }

    #[test]
    fn a_broken_folder_is_reported_with_file_and_line() {
        for (name, source, told) in [
            (
                "password_changed.de.txt",
                "Subject: x\n\n{% if %}",
                "password_changed.de.txt:3: syntax error: unexpected end of block",
            ),
            (
                "password_changed.fr.html",
                "a\n{{ nmae }}",
                "password_changed.fr.html:2: undefined value",
            ),
            (
                "password_changed.es.txt",
                "Hola",
                "password_changed.es.txt:1: the first line must be \"Subject: ...\"",
            ),
            (
                "password_changed.es.txt",
                "Subject: \n",
                "password_changed.es.txt:1: the first line must be \"Subject: ...\"",
            ),
            ("pasword_changed.en.txt", "x", "is no template"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(name), source).unwrap();
            let error = Templates::load(Some(folder.path())).unwrap_err();
            assert!(error.to_string().contains(told), "{error}");
        }
        let missing = Templates::load(Some(Path::new("/nonexistent"))).unwrap_err();
        assert!(missing.to_string().contains("cannot be read"), "{missing}");
        let folder = tempfile::tempdir().unwrap();
        let large = "x".repeat(64 * 1024 + 1);
        fs::write(folder.path().join("password_changed.en.txt"), large).unwrap();
        let error = Templates::load(Some(folder.path())).unwrap_err();
        assert!(error.to_string().contains("is larger than"), "{error}");
    }

    #[test]
    fn a_file_of_the_folder_replaces_ours_and_the_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let text = "Subject: Hi\t{{ name }}\n\nBody {{ by }}";
        fs::write(folder.path().join("password_changed.en.txt"), text).unwrap();
        fs::write(folder.path().join(".hidden"), "x").unwrap();
        let templates = Templates::load(Some(folder.path())).unwrap();
        let rendered = templates
            .render(&letter("A\r\nBcc: b@c", Language::En), "Acme")
            .unwrap();
        assert_eq!(rendered.text, "Bcc: b@c\n\nBody owner");
        assert_eq!(rendered.subject, "Hi A");
        assert!(rendered.html.contains("Acme"));
        assert_ne!(templates, Templates::load(None).unwrap());
    }
}
