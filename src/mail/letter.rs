//! What is a mail about? The facts only: the text is made when the mail is sent, by the templates of that time.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::types::language::Language;
use crate::types::time::Timestamp;

/// The number of the present encoding, the first byte of an encoded letter.
const FORM: u8 = 1;

/// The facts of one mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// The recipient's address.
    pub to: String,
    /// The recipient's name, as it is shown in the text.
    pub name: String,
    /// The language of the text.
    pub language: Language,
    /// When the act happened.
    pub at: Timestamp,
    /// The act.
    pub subject: Subject,
}

/// The act that a mail is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// The password of the recipient's account was changed.
    PasswordChanged {
        /// The actor.
        by: By,
        /// The address of the client, if one is known.
        address: Option<IpAddr>,
    },
}

/// The actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum By {
    /// The owner of the account, or a client with the owner's password and session.
    Owner,
    /// An operator.
    Operator,
}

impl Subject {
    /// The names of the templates.
    pub const NAMES: [&'static str; 1] = ["password_changed"];

    /// The name of its templates.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::PasswordChanged { .. } => "password_changed",
        }
    }
}

impl Letter {
    /// The letter as bytes. `None` only if it is larger than memory permits.
    pub fn encode(&self) -> Option<Vec<u8>> {
        postcard::to_extend(self, vec![FORM]).ok()
    }

    /// The letter of these bytes. `None` when they are not a letter.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (form, rest) = bytes.split_first()?;
        (*form == FORM)
            .then(|| postcard::from_bytes(rest).ok())
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    use super::*;

    fn letter() -> Letter {
        Letter {
            to: "ann@example.org".to_owned(),
            name: "Ann".to_owned(),
            language: Language::De,
            at: Timestamp::from_millis(1_700_000_000_123),
            subject: Subject::PasswordChanged {
                by: By::Operator,
                address: Some(IpAddr::from([192, 0, 2, 1])),
            },
        }
    }

    #[test]
    fn letters_are_encoded_as_in_existing_queues() {
        let golden = "010f616e6e406578616d706c652e6f726703416e6e01fbd095ffbc3100010100c0000201";
        assert_eq!(HEXLOWER.encode(&letter().encode().unwrap()), golden);
        let bytes = HEXLOWER.decode(golden.as_bytes()).unwrap();
        assert_eq!(Letter::decode(&bytes), Some(letter()));
        assert_eq!(Letter::decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(Letter::decode(&[]), None);
        assert_eq!(Letter::decode(&[2]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _letter = Letter::decode(&bytes);
        }
    }
}
