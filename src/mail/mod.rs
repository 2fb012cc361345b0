//! How is a mail written and handed to a mail server?
//!
//! | question | file |
//! |---|---|
//! | What is a mail about, and how is it kept until it is sent? | [`letter`] |
//! | Which texts does it have? | [`templates`], and the folder of the same name |
//! | How do they become a message? | [`message`] |
//! | Where is it handed over? | [`mailer`] |
//!
//! Nothing here is called while a request waits: `service/mail` stores a letter in the step of the act that causes
//! it, and a task of the process delivers it.

pub mod letter;
pub mod mailer;
mod message;
pub mod settings;
mod templates;

pub use letter::{By, Letter, Subject};
pub use mailer::{Failure, Mailer};
