//! How are an operator's commands about an import executed?

use crate::control::import::ImportRecord;
use crate::control::reply::{ImportedView, RefusedLine, Reply};
use crate::control::request::ImportTotals;
use crate::crypto::password::BadHash;
use crate::process::control::outcome::text;
use crate::service::Service;
use crate::service::import::{ForeignAccount, ImportRefusal, Imported};
use crate::types::login::LoginName;
use crate::types::role::{Role, Roles};
use crate::types::shown::shown;

/// The most accounts of one request; the store has a bounded queue.
const MAX_ACCOUNTS: usize = 500;

/// The longest name of a person, as at sign-up.
const MAX_NAME: usize = 128;

pub(crate) async fn accounts(
    service: &Service,
    records: Vec<ImportRecord>,
    dry_run: bool,
) -> Result<Reply, String> {
    if records.len() > MAX_ACCOUNTS {
        return Err(format!("more than {MAX_ACCOUNTS} accounts in one request"));
    }
    let mut view = ImportedView::default();
    let (mut lines, mut accounts) = (Vec::new(), Vec::new());
    for record in records {
        let line = record.line;
        match parsed(record) {
            Ok(account) => {
                lines.push(line);
                accounts.push(account);
            }
            Err(error) => view.refused.push(error.at(line)),
        }
    }
    let outcomes = service.operator_import(accounts, dry_run).await;
    for (line, outcome) in lines.into_iter().zip(outcomes.map_err(text)?) {
        match outcome {
            Imported::Added => view.imported = view.imported.saturating_add(1),
            Imported::Exists => view.skipped = view.skipped.saturating_add(1),
            Imported::Refused(refusal) => view.refused.push(refused(refusal).at(line)),
        }
    }
    view.refused.sort_by_key(|refused| refused.line);
    Ok(Reply::UsersImported(view))
}

pub(crate) fn mark(service: &Service, end: Option<ImportTotals>) -> Reply {
    let outcome = match end {
        None => "begun".to_owned(),
        Some(ImportTotals {
            imported,
            skipped,
            refused,
        }) => format!("imported {imported}, skipped {skipped}, refused {refused}"),
    };
    service.operator_import_mark(&outcome);
    Reply::Done(outcome)
}

/// Why a record is refused, as a word and as a text.
struct Reason(&'static str, String);

impl Reason {
    fn at(self, line: u64) -> RefusedLine {
        RefusedLine {
            line,
            reason: self.0.to_owned(),
            detail: self.1,
        }
    }
}

fn parsed(record: ImportRecord) -> Result<ForeignAccount, Reason> {
    let roles: Result<Vec<Role>, _> = record.roles.iter().map(|role| role.parse()).collect();
    let roles = roles.and_then(Roles::new);
    let name = record.name.map(|name| shown(&name)).transpose();
    let name = name.map_err(|error| Reason("name", format!("the name {error}")))?;
    let name = name.flatten();
    if name
        .as_ref()
        .is_some_and(|name| name.chars().count() > MAX_NAME)
    {
        let why = format!("the name has more than {MAX_NAME} characters");
        return Err(Reason("name", why));
    }
    Ok(ForeignAccount {
        username: login(record.username, "username", LoginName::username)?,
        email: login(record.email, "email", LoginName::email)?,
        mobile: login(record.mobile, "mobile", LoginName::mobile)?,
        name,
        roles: roles.map_err(|error| Reason("roles", error.to_string()))?,
        password_hash: record.password_hash,
    })
}

fn login<E: std::fmt::Display>(
    text: Option<String>,
    kind: &'static str,
    parse: fn(&str) -> Result<LoginName, E>,
) -> Result<Option<LoginName>, Reason> {
    text.map(|text| parse(&text))
        .transpose()
        .map_err(|error| Reason(kind, error.to_string()))
}

fn refused(refusal: ImportRefusal) -> Reason {
    let word = match refusal {
        ImportRefusal::NoLogin => "line",
        ImportRefusal::Name(_) => "username",
        ImportRefusal::Hash(BadHash::Unknown) => "hash_unknown",
        ImportRefusal::Hash(BadHash::Damaged(_)) => "hash_damaged",
        ImportRefusal::Hash(BadHash::TooDear(_)) => "hash_too_expensive",
        ImportRefusal::HashVariety => "hash_variety",
        ImportRefusal::Taken(_) => "taken",
    };
    Reason(word, refusal.to_string())
}
