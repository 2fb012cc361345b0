//! `[mail]`: where mails are handed over, and which texts they have.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use crate::config::build::reader::Reader;
use crate::config::keys::mail;
use crate::mail::settings::{Security, Sender, Server, Settings, Templates, Transport};
use crate::types::origin::split_authority;
use crate::types::secret::SecretText;

/// Reads a file.
type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// Mail's settings; `None` when no mail is sent.
pub(super) fn build(reader: &mut Reader<'_>, read: ReadFile<'_>) -> Option<Settings> {
    let text = reader.get(&mail::TRANSPORT);
    let from = sender(reader);
    let templates = templates(reader);
    let language = reader.get(&mail::LANGUAGE).unwrap_or_default();
    let login = login(reader, read);
    if text.is_empty() {
        return None;
    }
    let transport = transport(reader, text, login)?;
    Some(Settings {
        transport,
        from: from?,
        templates: templates?,
        language,
    })
}

fn sender(reader: &mut Reader<'_>) -> Option<Sender> {
    let text = reader.get(&mail::FROM);
    let hint = "write an address, or \"Name <address>\"";
    Sender::parse(text)
        .map_err(|error| reader.refuse_with(mail::FROM.path(), error.to_string(), hint))
        .ok()
}

fn templates(reader: &mut Reader<'_>) -> Option<Arc<Templates>> {
    let folder = reader.get(&mail::TEMPLATES);
    Templates::load(folder.as_deref())
        .map_err(|error| reader.refuse(mail::TEMPLATES.path(), error.to_string()))
        .ok()
        .map(Arc::new)
}

/// User name and password: both or neither.
fn login(reader: &mut Reader<'_>, read: ReadFile<'_>) -> Option<(String, SecretText)> {
    let username = reader.get(&mail::USERNAME);
    let inline = reader.get(&mail::PASSWORD);
    let file = reader.get(&mail::PASSWORD_FILE);
    let password = match (inline, file) {
        (Some(_), Some(_)) => {
            let why = "is given beside mail.password; keep one of them";
            reader.refuse(mail::PASSWORD_FILE.path(), why);
            return None;
        }
        (Some(password), None) => Some(password.clone()),
        (None, Some(path)) => Some(from_file(reader, &path, read)?),
        (None, None) => None,
    };
    if username.chars().any(char::is_control) {
        reader.refuse(mail::USERNAME.path(), "contains a control character");
        return None;
    }
    match (username, password) {
        ("", None) => None,
        ("", Some(_)) => {
            reader.refuse(
                mail::USERNAME.path(),
                "a password is given without a user name",
            );
            None
        }
        (_, None) => {
            let hint = "set mail.password_file";
            reader.refuse_with(mail::USERNAME.path(), "is given without a password", hint);
            None
        }
        (username, Some(password)) => Some((username.to_owned(), password)),
    }
}

/// The text of the file without one line end at its end.
fn from_file(reader: &mut Reader<'_>, path: &Path, read: ReadFile<'_>) -> Option<SecretText> {
    let key = mail::PASSWORD_FILE.path();
    let shown = path.display();
    let text = match read(path).map(String::from_utf8) {
        Ok(Ok(text)) => SecretText::new(text),
        Ok(Err(_)) => {
            reader.refuse(key, format!("{shown} is not UTF-8"));
            return None;
        }
        Err(error) => {
            reader.refuse(key, format!("{shown} cannot be read: {error}"));
            return None;
        }
    };
    let trimmed = text.expose();
    let trimmed = trimmed.strip_suffix('\n').unwrap_or(trimmed);
    let trimmed = trimmed.strip_suffix('\r').unwrap_or(trimmed);
    if trimmed.is_empty() {
        reader.refuse(key, format!("{shown} is empty"));
        return None;
    }
    Some(SecretText::new(trimmed))
}

fn transport(
    reader: &mut Reader<'_>,
    text: &str,
    login: Option<(String, SecretText)>,
) -> Option<Transport> {
    let key = mail::TRANSPORT.path();
    if text == "log" {
        if !reader.get(&mail::DANGER_LOG_MAIL) {
            let why = "every reader of the log could read the mails";
            let hint = "set mail.danger_log_mail = true to do it all the same, or use \"file:DIR\"";
            reader.refuse_with(key, why, hint);
            return None;
        }
        reader.danger(&mail::DANGER_LOG_MAIL);
        return Some(Transport::Log);
    }
    if let Some(directory) = text.strip_prefix("file:").filter(|path| !path.is_empty()) {
        let directory = reader.resolve(&mail::TRANSPORT.declaration, key, directory);
        return Some(Transport::Files(directory));
    }
    let (authority, default, is_tls) = match text.split_once("://") {
        Some(("smtp", authority)) => (authority, 587, false),
        Some(("smtps", authority)) => (authority, 465, true),
        _ => return unknown(reader),
    };
    let Some((host, port)) = split_authority(authority).filter(|(host, _)| !host.is_empty()) else {
        return unknown(reader);
    };
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let security = security(reader, is_tls, is_loopback(&host), login.is_some())?;
    Some(Transport::Server(Server {
        host,
        port: port.unwrap_or(default),
        security,
        ca: reader.get(&mail::CA),
        login,
    }))
}

fn unknown(reader: &mut Reader<'_>) -> Option<Transport> {
    let hint = "write smtp://host:port, smtps://host:port, file:DIR or log; user name and password have keys of \
                their own";
    reader.refuse_with(mail::TRANSPORT.path(), "is no way to send mail", hint);
    None
}

fn security(
    reader: &mut Reader<'_>,
    is_tls: bool,
    is_loopback: bool,
    logs_in: bool,
) -> Option<Security> {
    if is_tls {
        return Some(Security::Tls);
    }
    if is_loopback {
        return Some(Security::IfOffered);
    }
    if !reader.get(&mail::DANGER_PLAIN) {
        return Some(Security::StartTls);
    }
    reader.danger(&mail::DANGER_PLAIN);
    if logs_in {
        let why = "the password of mail.username could be read by everyone on the way";
        reader.refuse(mail::DANGER_PLAIN.path(), why);
        return None;
    }
    Some(Security::IfOffered)
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
