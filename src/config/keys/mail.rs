//! The keys of `[mail]`.

use crate::config::key::{Base, Reload, keys};
use crate::config::kind::{
    File, Flag, Secret, Text, Word, file, flag, secret, section, text, word,
};
use crate::types::language::Language;

keys! {
    /// Mail to the owners of accounts (docs/mail.md).
    MAIL = section("mail").changes(Reload::Restart);

    /// "": no mail. "smtp://host:port": a mail server, with STARTTLS, which is required unless the
    /// host is a loopback address. "smtps://host:port": with TLS from the first byte. The ports are
    /// 587 and 465 if none is given. "file:DIR": a file for each mail. "log": into the log, with
    /// danger_log_mail.
    TRANSPORT: Text = text("mail.transport", "").relative_to(Base::File).changes(Reload::Restart);

    /// The sender: an address, or "Name <address>". The name is the name of the service in the
    /// texts.
    FROM: Text = text("mail.from", "Sidegate <no-reply@localhost>").changes(Reload::Restart);

    /// User name at the mail server. "": no log-in.
    USERNAME: Text = text("mail.username", "").changes(Reload::Restart);

    /// The password at the mail server. A file is better (password_file).
    PASSWORD: Secret = secret("mail.password").changes(Reload::Restart);

    /// The file with the password. One line end at its end is ignored. "": none.
    PASSWORD_FILE: File = file("mail.password_file", "")
        .relative_to(Base::File)
        .changes(Reload::Restart);

    /// A file of certificates (PEM) that are trusted at the mail server beside the system's. "":
    /// none.
    CA: File = file("mail.ca", "").relative_to(Base::File).changes(Reload::Restart);

    /// A directory of templates in place of ours. "": ours.
    TEMPLATES: File = file("mail.templates", "").relative_to(Base::File).changes(Reload::Restart);

    /// The language of a mail whose cause names none of these: en, de, fr or es.
    LANGUAGE: Word<Language> = word("mail.language", "en", &LANGUAGE_WORDS)
        .changes(Reload::Restart);

    /// true: mail is sent without TLS to a server on another machine that does not offer STARTTLS.
    /// Everyone on the way can read and change it.
    DANGER_PLAIN: Flag = flag("mail.danger_plain", false).changes(Reload::Restart);

    /// true: transport "log" is admitted. Every reader of the log can read the mails.
    DANGER_LOG_MAIL: Flag = flag("mail.danger_log_mail", false).changes(Reload::Restart);
}

const LANGUAGE_WORDS: [(&str, Language); 4] = [
    ("en", Language::En),
    ("de", Language::De),
    ("fr", Language::Fr),
    ("es", Language::Es),
];
