//! How is mail configured, and which configurations are refused?

use std::io;
use std::path::{Path, PathBuf};

use crate::config::explain::Explanation;
use crate::config::tests::{UPSTREAM, good, load_with, mistakes};
use crate::mail::settings::{Security, Server, Transport};
use crate::types::language::Language;

fn server(text: &str) -> Server {
    let config = good(&format!("[mail]\n{text}"));
    match config.mail.expect("mail").transport {
        Transport::Server(server) => server,
        other => panic!("{other:?}"),
    }
}

#[test]
fn there_is_no_mail_unless_a_transport_is_set() {
    assert!(good("").mail.is_none());
    assert_eq!(good("").service.mail, None);
    let config = good("[mail]\nlanguage = \"de\"\ntransport = \"file:mails\"");
    assert_eq!(config.service.mail, Some(Language::De));
    let mail = config.mail.expect("mail");
    assert_eq!(mail.transport, Transport::Files(PathBuf::from("mails")));
}

#[test]
fn starttls_is_required_unless_the_server_is_on_this_machine() {
    for (transport, host, port, security) in [
        (
            "smtp://mail.example.org",
            "mail.example.org",
            587,
            Security::StartTls,
        ),
        (
            "smtp://mail.example.org:25",
            "mail.example.org",
            25,
            Security::StartTls,
        ),
        ("smtp://192.0.2.1", "192.0.2.1", 587, Security::StartTls),
        ("smtp://localhost:25", "localhost", 25, Security::IfOffered),
        (
            "smtp://127.0.0.9:1025",
            "127.0.0.9",
            1_025,
            Security::IfOffered,
        ),
        ("smtp://[::1]:25", "::1", 25, Security::IfOffered),
        (
            "smtp://localhost.example.org",
            "localhost.example.org",
            587,
            Security::StartTls,
        ),
        (
            "smtps://mail.example.org",
            "mail.example.org",
            465,
            Security::Tls,
        ),
        ("smtps://[::1]:4465", "::1", 4_465, Security::Tls),
    ] {
        let server = server(&format!("transport = {transport:?}"));
        assert_eq!((&*server.host, server.port), (host, port), "{transport}");
        assert_eq!(server.security, security, "{transport}");
    }
}

#[test]
fn the_transport_is_explained() {
    let words = |transport: &str| {
        let config = good(&format!(
            "[mail]\ndanger_log_mail = true\ntransport = {transport:?}"
        ));
        Explanation::of(&config).to_string()
    };
    for (transport, told) in [
        ("log", "mail             into the log\n"),
        ("file:mails", "mail             files in mails\n"),
        (
            "smtp://a.example",
            "mail             a.example, port 587, STARTTLS required\n",
        ),
        (
            "smtp://[::1]:25",
            "mail             ::1, port 25, STARTTLS if offered\n",
        ),
        (
            "smtps://a.example",
            "mail             a.example, port 465, TLS\n",
        ),
    ] {
        let words = words(transport);
        assert!(words.contains(told), "{told}: {words}");
    }
}

#[test]
fn mail_without_protection_needs_its_danger_key() {
    let log = mistakes("[mail]\ntransport = \"log\"");
    assert!(
        log.contains("every reader of the log could read the mails"),
        "{log}"
    );
    let config = good("[mail]\ntransport = \"log\"\ndanger_log_mail = true");
    assert_eq!(config.dangers, ["mail.danger_log_mail"]);
    assert_eq!(config.mail.expect("mail").transport, Transport::Log);
    let plain = "[mail]\ntransport = \"smtp://192.0.2.1\"\ndanger_plain = true\n";
    let config = good(plain);
    assert_eq!(config.dangers, ["mail.danger_plain"]);
    let refused = mistakes(&format!("{plain}username = \"a\"\npassword = \"b\""));
    assert!(
        refused.contains("could be read by everyone on the way"),
        "{refused}"
    );
    // The keys alone are no danger.
    let unused = good("[mail]\ntransport = \"smtps://192.0.2.1\"\ndanger_plain = true");
    assert!(unused.dangers.is_empty());
}

#[test]
fn a_log_in_has_a_name_and_one_password() {
    let read = |path: &Path| match path.to_str() {
        Some("good") => Ok(b"s3cret\r\n".to_vec()),
        Some("empty") => Ok(b"\n".to_vec()),
        Some("bytes") => Ok(vec![0xFF]),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    let load = |keys: &str| {
        let text = format!("[mail]\ntransport = \"smtps://mail.example.org\"\n{keys}\n{UPSTREAM}");
        load_with(Some(&text), &[], &read)
    };
    for keys in [
        "username = \"ann\"\npassword = \"s3cret\"",
        "username = \"ann\"\npassword_file = \"good\"",
    ] {
        let mail = load(keys).expect("a configuration").mail.expect("mail");
        assert!(!format!("{mail:?}").contains("s3cret"), "{mail:?}");
        let Transport::Server(server) = mail.transport else {
            panic!("a server");
        };
        let (name, password) = server.login.expect("a log-in");
        assert_eq!((&*name, password.expose()), ("ann", "s3cret"));
    }
    for (keys, told) in [
        (
            "username = \"ann\"",
            "mail.username: is given without a password",
        ),
        (
            "password = \"x\"",
            "a password is given without a user name",
        ),
        (
            "username = \"ann\"\npassword = \"x\"\npassword_file = \"good\"",
            "mail.password_file: is given beside mail.password",
        ),
        (
            "username = \"a\\u0000b\"\npassword = \"x\"",
            "a control character",
        ),
        (
            "username = \"ann\"\npassword_file = \"empty\"",
            "empty is empty",
        ),
        (
            "username = \"ann\"\npassword_file = \"bytes\"",
            "bytes is not UTF-8",
        ),
        (
            "username = \"ann\"\npassword_file = \"none\"",
            "none cannot be read",
        ),
    ] {
        let refused = load(keys).expect_err("refused").to_string();
        assert!(refused.contains(told), "{keys}: {refused}");
    }
}

#[test]
fn a_transport_a_sender_and_templates_that_cannot_be_used_are_refused() {
    for transport in [
        "smtp",
        "smtp://",
        "smtp:///",
        "smtp://a:b@mail.example.org",
        "smtp://mail.example.org:0x19",
        "smtp://mail.example.org/path",
        "http://mail.example.org",
        "file:",
        "Log",
    ] {
        let refused = mistakes(&format!("[mail]\ntransport = {transport:?}"));
        assert!(
            refused.contains("is no way to send mail"),
            "{transport}: {refused}"
        );
    }
    let sender = mistakes("[mail]\nfrom = \"nobody\"");
    assert!(sender.contains("mail.from: is no sender"), "{sender}");
    let folder = mistakes("[mail]\ntemplates = \"/nonexistent\"");
    assert!(folder.contains("/nonexistent: cannot be read"), "{folder}");
    let language = mistakes("[mail]\nlanguage = \"it\"");
    assert!(language.contains("mail.language"), "{language}");
}
