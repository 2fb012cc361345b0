//! `sidegate store`: look into a store, and make a new one from a damaged one.

use serde::Serialize;

use crate::cli::args::Store;
use crate::cli::{App, OfflineError, Surroundings, Trouble, show, tell};
use crate::config::Config;

/// What is in a store and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyReport {
    /// Whether it is sound.
    pub sound: bool,
    /// Where it lies.
    pub directory: String,
    /// Which store it is.
    pub store: Option<String>,
    /// The commit that its log ends at.
    pub commit: Option<u64>,
    /// The last commit that was acknowledged.
    pub acknowledged: Option<u64>,
    /// Records that were read.
    pub records: u64,
    /// What is wrong.
    pub problems: Vec<String>,
    /// What the next start puts right by itself.
    pub notes: Vec<String>,
}

/// What was kept of a damaged store.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SalvageReport {
    /// Where the new store lies.
    pub directory: String,
    /// Accounts that were kept.
    pub users: u64,
    /// Counters of failed log-ins that were kept.
    pub lockouts: u64,
    /// Audit lines that were kept.
    pub audit_lines: u64,
    /// Other records that were kept.
    pub others: u64,
    /// Sessions that were read; they are over.
    pub sessions_ended: u64,
    /// Login names that two accounts claim.
    pub logins_claimed_twice: u64,
    /// Records that are damaged.
    pub damaged_records: u64,
    /// Damaged stretches of the log that were read around.
    pub damaged_stretches: u64,
    /// Pages that could not be read.
    pub unreadable_pages: u64,
}

/// Carries out one command.
pub(super) fn run(
    command: Store,
    app: &dyn App,
    config: &Config,
    surroundings: &mut Surroundings<'_>,
) -> Result<(), Trouble> {
    match command {
        Store::Verify { json } => {
            let err = &mut *surroundings.err;
            let report = app
                .verify_store(config, &mut |records| say(err, "read", records))
                .map_err(refused)?;
            let text = if json.json {
                show::json(&report)?
            } else {
                verified(&report)
            };
            tell(surroundings.out, &text);
            if report.sound {
                return Ok(());
            }
            Err(Trouble::Failed(format!(
                "the store in {} is damaged; `sidegate restore FILE --replace` puts a backup in its place, \
                 `sidegate store salvage NEW-DIR` copies what can still be read",
                report.directory
            )))
        }
        Store::Salvage { directory, json } => {
            let err = &mut *surroundings.err;
            let report = app
                .salvage_store(config, &directory, &mut |records| {
                    say(err, "copied", records);
                })
                .map_err(refused)?;
            let text = if json.json {
                show::json(&report)?
            } else {
                salvaged(&report)
            };
            tell(surroundings.out, &text);
            Ok(())
        }
    }
}

fn say(err: &mut dyn std::io::Write, what: &str, records: u64) {
    tell(err, &format!("{what} {records} records"));
}

fn refused(error: OfflineError) -> Trouble {
    match error {
        OfflineError::StoreLocked => Trouble::Failed(
            "the store is in use by a running server, which has checked it at its start: stop the \
             server first"
                .to_owned(),
        ),
        OfflineError::Failed(words) => Trouble::Failed(words),
    }
}

fn verified(report: &VerifyReport) -> String {
    let number = |number: Option<u64>| number.map_or("unknown".to_owned(), |n| n.to_string());
    let mut lines = vec![
        format!(
            "store         {}",
            report.store.as_deref().unwrap_or("unknown")
        ),
        format!("directory     {}", report.directory),
        format!("last commit   {}", number(report.commit)),
        format!("acknowledged  {}", number(report.acknowledged)),
        format!("records       {}", report.records),
    ];
    lines.extend(report.notes.iter().map(|note| format!("note: {note}")));
    lines.extend(
        report
            .problems
            .iter()
            .map(|what| format!("damaged: {what}")),
    );
    if report.sound {
        lines.push("sound".to_owned());
    }
    lines.join("\n")
}

fn salvaged(report: &SalvageReport) -> String {
    format!(
        "a new store is in {}\n\
         kept          {} accounts, {} counters of failed log-ins, {} audit lines, {} other records\n\
         ended         {} sessions: revocations may be among what was lost\n\
         lost          {} damaged records, {} damaged stretches of the log, {} pages\n\
         twice         {} login names that two accounts claim\n\
         Look through the accounts (`sidegate users list`): one that was deleted, disabled or given \
         another password last may be as it was before. Then move the damaged directory away and this \
         one into its place.",
        report.directory,
        report.users,
        report.lockouts,
        report.audit_lines,
        report.others,
        report.sessions_ended,
        report.damaged_records,
        report.damaged_stretches,
        report.unreadable_pages,
        report.logins_claimed_twice,
    )
}
