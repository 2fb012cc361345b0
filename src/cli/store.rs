//! How do `sidegate store verify` and `sidegate store salvage` report their results?

use crate::cli::app::{App, SalvageReport, VerifyReport};
use crate::cli::args::Store;
use crate::cli::console::{Console, print_line};
use crate::cli::error::{CommandError, OfflineError};
use crate::cli::show;
use crate::config::Config;

/// Executes one command.
pub(super) fn run(
    command: Store,
    app: &dyn App,
    config: &Config,
    console: &mut Console<'_>,
) -> Result<(), CommandError> {
    match command {
        Store::Verify { json } => {
            let err = &mut *console.err;
            let report = app
                .verify_store(config, &mut |records| show_progress(err, "read", records))
                .map_err(refused)?;
            let text = if json.json {
                show::json(&report)?
            } else {
                verified(&report)
            };
            print_line(console.out, &text);
            if report.sound {
                return Ok(());
            }
            Err(CommandError::Failed(format!(
                "the store in {} is damaged; `sidegate restore FILE --replace` puts a backup in its place, \
                 `sidegate store salvage NEW-DIR` copies what can still be read",
                report.directory
            )))
        }
        Store::Salvage { directory, json } => {
            let err = &mut *console.err;
            let report = app
                .salvage_store(config, &directory, &mut |records| {
                    show_progress(err, "copied", records);
                })
                .map_err(refused)?;
            let text = if json.json {
                show::json(&report)?
            } else {
                salvaged(&report)
            };
            print_line(console.out, &text);
            Ok(())
        }
    }
}

fn show_progress(err: &mut dyn std::io::Write, what: &str, records: u64) {
    print_line(err, &format!("{what} {records} records"));
}

fn refused(error: OfflineError) -> CommandError {
    match error {
        OfflineError::StoreLocked => CommandError::Failed(
            "the store is in use by a running server, which has checked it at its start: stop the \
             server first"
                .to_owned(),
        ),
        OfflineError::Failed(words) => CommandError::Failed(words),
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
