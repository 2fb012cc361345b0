//! How does a letter become a message? With headers that no value can add to.

use lettre::Message;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};

use data_encoding::HEXLOWER;

use crate::mail::letter::Letter;
use crate::mail::mailer::Failure;
use crate::mail::settings::Settings;

/// The message of a letter. The same letter and id give the same bytes.
pub(super) fn message(
    settings: &Settings,
    letter: &Letter,
    id: [u8; 16],
) -> Result<Message, Failure> {
    let from = &settings.from;
    let rendered = settings.templates.render(letter, from.service());
    let rendered = rendered.map_err(|error| Failure::Refused(error.to_string()))?;
    // Without the name: it is a value of the user, and the text has it.
    let to = letter.to.parse().map(|address| Mailbox::new(None, address));
    let to = to.map_err(|error| Failure::Refused(format!("the address: {error}")))?;
    let id = HEXLOWER.encode(&id);
    let parts = MultiPart::alternative()
        .boundary(format!("=_{id}"))
        .singlepart(SinglePart::plain(rendered.text))
        .singlepart(SinglePart::html(rendered.html));
    Message::builder()
        .from(from.mailbox().clone())
        .to(to)
        .subject(rendered.subject)
        .date(letter.at.to_system_time())
        .message_id(Some(format!("<{id}@{}>", from.domain())))
        // RFC 3834: automatic replies are not sent to it.
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ))
        .multipart(parts)
        .map_err(|error| Failure::Refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::mail::letter::{By, Subject};
    use crate::mail::settings::{Sender, Templates, Transport};
    use crate::types::language::Language;
    use crate::types::login::LoginName;
    use crate::types::time::Timestamp;

    fn settings(from: &str) -> Settings {
        Settings {
            transport: Transport::Log,
            from: Sender::parse(from).unwrap(),
            templates: Arc::new(Templates::load(None).unwrap()),
            language: Language::En,
        }
    }

    fn letter(to: &str, name: &str, language: Language) -> Letter {
        Letter {
            to: to.to_owned(),
            name: name.to_owned(),
            language,
            at: Timestamp::from_secs(1_800_000_000),
            subject: Subject::PasswordChanged {
                by: By::Owner,
                address: None,
            },
        }
    }

    /// The names of the headers before the body; a folded line belongs to the header above it.
    fn header_names(bytes: &[u8]) -> Vec<String> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (head, _) = text.split_once("\r\n\r\n").unwrap();
        assert!(!head.replace("\r\n", "").contains(['\r', '\n']), "{head:?}");
        let lines = head
            .split("\r\n")
            .filter(|line| !line.starts_with([' ', '\t']));
        let name = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
        lines.map(name).collect()
    }

    const NAMES: [&str; 8] = [
        "From",
        "To",
        "Subject",
        "Date",
        "Message-ID",
        "Auto-Submitted",
        "MIME-Version",
        "Content-Type",
    ];

    #[test]
    fn a_message_has_these_headers_and_both_texts() {
        let settings = settings("Acme Überall <no-reply@example.org>");
        let made = |id| {
            let letter = letter("ann@example.org", "Ann", Language::De);
            message(&settings, &letter, [id; 16]).unwrap().formatted()
        };
        assert_eq!(made(1), made(1), "the same mail has the same bytes");
        assert_ne!(made(1), made(2));
        let bytes = made(1);
        assert_eq!(header_names(&bytes), NAMES);
        let text = String::from_utf8(bytes).unwrap();
        for part in [
            "Message-ID: <01010101010101010101010101010101@example.org>\r\n",
            "To: ann@example.org\r\n",
            "Date: Fri, 15 Jan 2027 08:00:00 +0000\r\n",
            "Content-Type: text/plain; charset=utf-8\r\n",
            "Content-Type: text/html; charset=utf-8\r\n",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn an_address_with_a_line_break_is_refused() {
        for to in [
            "a@b\r\nBcc: c@d",
            "a@b\nX: y",
            "a@b>\r\nRCPT TO:<c@d",
            "a@b, c@d",
            "",
        ] {
            let made = message(
                &settings("a@example.org"),
                &letter(to, "x", Language::En),
                [1; 16],
            );
            assert!(matches!(made, Err(Failure::Refused(_))), "{to:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_name_and_no_address_adds_a_header(
            name in "(\\PC|\r\n|\n|\r|\t|\0|Bcc: x@y){0,40}",
            local in "[^@]{1,12}", language in 0_usize..4,
        ) {
            let settings = settings("Sidegate <no-reply@localhost>");
            // Every address of an account is one of these; others are refused or harmless too.
            let accepted = LoginName::email(&format!("{local}@example.org"));
            let address = accepted.as_ref().map_or_else(
                |_| format!("{local}@example.org"),
                |address| address.as_str().to_owned(),
            );
            let letter = letter(&address, &name, Language::ALL[language]);
            if let Ok(message) = message(&settings, &letter, [7; 16]) {
                prop_assert_eq!(header_names(&message.formatted()), NAMES);
                prop_assert_eq!(message.envelope().to().len(), 1);
            }
        }

        #[test]
        fn no_service_name_adds_a_header(text in "(\\PC|\r|\n|<|>|@|,){0,24}") {
            if let Ok(sender) = Sender::parse(&format!("{text} <no-reply@localhost>")) {
                let settings = Settings { from: sender, ..settings("a@localhost") };
                let made = message(&settings, &letter("a@b.c", "x", Language::En), [7; 16]);
                prop_assert_eq!(header_names(&made.unwrap().formatted()), NAMES);
            }
        }
    }
}
