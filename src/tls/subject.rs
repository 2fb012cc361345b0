//! The subject of a client's certificate as text for a header: RFC 4514 (`CN=ann,O=Example`), its last
//! part first, of visible ASCII only.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::x509::AttributeTypeAndValue;

/// The maximum length of a subject in bytes. A longer one is left out.
pub const MAX_SUBJECT: usize = 256;

/// The types that have a name (RFC 4514, 3).
const NAMES: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// The subject of a certificate in DER. Characters that are not visible ASCII, and `%`, are
/// percent-encoded UTF-8. `None` for a subject that is empty, cannot be parsed, or is too long: a
/// truncated name could be that of another subject.
pub fn subject(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let mut parts: Vec<Vec<String>> = certificate
        .subject()
        .iter_rdn()
        .map(|rdn| rdn.iter().map(attribute).collect())
        .collect();
    parts.reverse();
    let parts: Vec<String> = parts.iter().map(|part| part.join("+")).collect();
    let text = parts.join(",");
    (!text.is_empty() && text.len() <= MAX_SUBJECT).then_some(text)
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let name = NAMES.iter().find(|(id, _)| *id == oid);
    match (name, attribute.as_str()) {
        (Some((_, name)), Ok(text)) => format!("{name}={}", escaped(text)),
        (name, _) => {
            let value = attribute.attr_value();
            let kind = name.map_or(oid.as_str(), |(_, name)| name);
            let mut text = format!("{kind}=#");
            let tag = u8::try_from(value.header.tag().0).unwrap_or(0);
            hex(&mut text, &[tag]);
            hex(&mut text, &length(value.data.len()));
            hex(&mut text, value.data);
            text
        }
    }
}

/// The length of a value (X.690, 8.1.3).
fn length(length: usize) -> Vec<u8> {
    match u8::try_from(length) {
        Ok(short) if short < 128 => vec![short],
        _ => {
            let bytes = length.to_be_bytes();
            let bytes: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
            let count = u8::try_from(bytes.len()).unwrap_or(0);
            std::iter::once(128 | count).chain(bytes).collect()
        }
    }
}

fn hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
    }
}

fn escaped(value: &str) -> String {
    let mut text = String::new();
    let last = value.chars().count().saturating_sub(1);
    for (at, character) in value.chars().enumerate() {
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => {
                text.push('\\');
                text.push(character);
            }
            ' ' | '#' if at == 0 => {
                text.push('\\');
                text.push(character);
            }
            ' ' if at == last => text.push_str("\\ "),
            other => text.extend(utf8_percent_encode(
                other.encode_utf8(&mut [0; 4]),
                NOT_PRINTABLE,
            )),
        }
    }
    text
}

/// ASCII characters that are percent-encoded; a space is only escaped at the ends.
const NOT_PRINTABLE: &AsciiSet = &CONTROLS.add(b'%');

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    fn told(parts: &[(DnType, &str)]) -> Option<String> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let key = KeyPair::generate().unwrap();
        subject(params.self_signed(&key).unwrap().der())
    }

    #[test]
    fn the_last_part_of_a_subject_comes_first() {
        let parts = [
            (DnType::CountryName, "CH"),
            (DnType::OrganizationName, "Example, Inc."),
            (DnType::CommonName, "ann"),
        ];
        assert_eq!(told(&parts).unwrap(), "CN=ann,O=Example\\, Inc.,C=CH");
    }

    #[test]
    fn only_visible_ascii_is_forwarded() {
        let told = |name| told(&[(DnType::CommonName, name)]).unwrap();
        assert_eq!(told("Zoë 100%"), "CN=Zo%C3%AB 100%25");
        assert_eq!(
            told(" a\r\nX-Role: admin "),
            "CN=\\ a%0D%0AX-Role: admin\\ "
        );
        assert_eq!(told("#a+b=c"), "CN=\\#a\\+b=c");
    }

    #[test]
    fn a_type_without_a_name_is_shown_by_its_number() {
        let kind = DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]);
        let told = told(&[(kind, "a@b")]).unwrap();
        assert_eq!(told, "1.2.840.113549.1.9.1=#0c03614062");
    }

    #[test]
    fn an_empty_or_oversized_subject_is_not_forwarded() {
        assert_eq!(told(&[]), None);
        assert_eq!(told(&[(DnType::CommonName, &"a".repeat(254))]), None);
        assert!(told(&[(DnType::CommonName, &"a".repeat(253))]).is_some());
        assert_eq!(subject(b"no certificate"), None);
    }

    proptest! {
        #[test]
        fn a_value_is_always_one_visible_line(value in ".{0,40}") {
            let text = escaped(&value);
            prop_assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        }

        #[test]
        fn any_bytes_parse_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            subject(&bytes);
        }
    }
}
