//! The keys of `[mail]`.

use crate::config::key::{Support, keys};
use crate::config::kind::{Text, section, text};

keys! {
    /// Not in this version: mail.
    MAIL = section("mail").support(Support::Ignored("this version sends no mail"));

    /// How mail is sent.
    TRANSPORT: Text = text("mail.transport", "log");

    /// The sender.
    FROM: Text = text("mail.from", "Sidegate <no-reply@localhost>");
}
