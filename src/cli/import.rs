//! How does `sidegate users import` add the accounts of a file?
//!
//! The file is read line by line and sent in batches, so a file of any size needs the memory of one batch and
//! about sixteen bytes for each login name, which find names that occur twice.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::hash::{DefaultHasher, Hasher as _};
use std::io::{BufReader, Write as _};
use std::time::Duration;

use serde::Serialize;

use crate::cli::args::Import;
use crate::cli::error::CommandError;
use crate::cli::execute::{Executor, unexpected};
use crate::cli::show;
use crate::cli::table::{clean, facts};
use crate::control::import::{Accounts, Format, ImportRecord, Line};
use crate::control::reply::RefusedLine;
use crate::control::request::ImportTotals;
use crate::control::{Reply, Request};
use crate::types::login::LoginName;
use crate::types::random::Random;
use crate::types::time::Stopwatch;

/// The most accounts in one request.
const BATCH: usize = 200;

/// The size of a request at which it is sent, in bytes of its texts. JSON needs six bytes for some characters,
/// and the limit is one megabyte.
const BATCH_BYTES: usize = 96 << 10;

/// The interval between two progress messages.
const PROGRESS: Duration = Duration::from_secs(1);

/// The most refused lines in the JSON result. All of them are printed to standard error.
const MAX_LISTED: usize = 1_000;

impl Executor<'_, '_> {
    /// `sidegate users import`.
    pub(super) fn users_import(&mut self, import: &Import) -> Result<(), CommandError> {
        let file = import.file.display();
        let wrong = |why: String| CommandError::Usage(format!("{file}: {why}"));
        let format = import.format.or_else(|| Format::of(&import.file));
        let format =
            format.ok_or_else(|| wrong("the format is unknown: use --format".to_owned()))?;
        let input = File::open(&import.file).map_err(|e| wrong(format!("cannot be read: {e}")))?;
        let accounts = Accounts::open(format, BufReader::with_capacity(1 << 16, input));
        let mut accounts = accounts.map_err(|error| wrong(error.to_string()))?;
        let mut run = Run::new(import.dry_run, self.console.random);
        if !import.dry_run {
            self.order_quietly(Request::UsersImportMark { end: None })?;
        }
        let ended = self.import_all(&mut accounts, import, &mut run);
        let totals = run.report.totals();
        if !import.dry_run {
            let marked = self.order_quietly(Request::UsersImportMark { end: Some(totals) });
            // The first error is reported.
            ended.as_ref().map_or(Ok(()), |()| marked)?;
        }
        ended.map_err(|error| match error {
            CommandError::Failed(why) => CommandError::Failed(format!(
                "{why}; {} of {} lines were done: the same command goes on",
                totals.imported.saturating_add(totals.skipped),
                run.report.lines
            )),
            other => other,
        })?;
        self.print_import(&run.report, import.json.json)?;
        match totals.refused {
            0 => Ok(()),
            1 => Err(CommandError::Failed("1 line was refused".to_owned())),
            count => Err(CommandError::Failed(format!("{count} lines were refused"))),
        }
    }

    fn import_all(
        &mut self,
        accounts: &mut Accounts<BufReader<File>>,
        import: &Import,
        run: &mut Run,
    ) -> Result<(), CommandError> {
        let mut watch = Stopwatch::start();
        let unreadable = |e| CommandError::Failed(format!("the file cannot be read: {e}"));
        while let Some(line) = accounts.next_line().map_err(unreadable)? {
            run.report.lines = run.report.lines.saturating_add(1);
            match run.admit(line) {
                Ok(mut record) => {
                    if record.roles.is_empty() {
                        record.roles = import.roles.iter().map(ToString::to_string).collect();
                    }
                    run.batch_bytes = run.batch_bytes.saturating_add(size(&record));
                    run.batch.push(record);
                }
                Err(refused) => self.refuse(run, refused),
            }
            if run.batch.len() >= BATCH || run.batch_bytes >= BATCH_BYTES {
                self.send(run)?;
                if watch.elapsed() >= PROGRESS {
                    self.note(&run.report.progress());
                    watch = Stopwatch::start();
                }
            }
        }
        self.send(run)
    }

    fn send(&mut self, run: &mut Run) -> Result<(), CommandError> {
        run.batch_bytes = 0;
        let accounts = std::mem::take(&mut run.batch);
        if accounts.is_empty() {
            return Ok(());
        }
        let dry_run = run.report.dry_run;
        let view = match self.ask(Request::UsersImport { accounts, dry_run })? {
            Reply::UsersImported(view) => view,
            other => return Err(unexpected(&other)),
        };
        let report = &mut run.report;
        report.imported = report.imported.saturating_add(view.imported);
        report.skipped = report.skipped.saturating_add(view.skipped);
        for refused in view.refused {
            self.refuse(run, refused);
        }
        Ok(())
    }

    fn refuse(&mut self, run: &mut Run, refused: RefusedLine) {
        let (line, reason, detail) = (refused.line, &refused.reason, &refused.detail);
        let text = format!("line {line}: {}: {}", clean(reason), clean(detail));
        self.note(&text);
        run.report.add(refused);
    }

    fn order_quietly(&mut self, request: Request) -> Result<(), CommandError> {
        match self.ask(request)? {
            Reply::Done(_) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    fn print_import(&mut self, report: &Report, json: bool) -> Result<(), CommandError> {
        let text = if json {
            show::json(report)?
        } else {
            let added = if report.dry_run {
                "can be imported"
            } else {
                "imported"
            };
            let mut pairs = vec![
                ("lines".to_owned(), report.lines.to_string()),
                (added.to_owned(), report.imported.to_string()),
                (
                    "skipped, exist already".to_owned(),
                    report.skipped.to_string(),
                ),
                ("refused".to_owned(), report.refused.to_string()),
            ];
            for (reason, count) in &report.reasons {
                pairs.push((format!("  {}", clean(reason)), count.to_string()));
            }
            let pairs: Vec<(&str, String)> = pairs
                .iter()
                .map(|(name, value)| (name.as_str(), value.clone()))
                .collect();
            facts(&pairs)
        };
        let out = &mut self.console.out;
        writeln!(out, "{text}")
            .and_then(|()| out.flush())
            .map_err(|e| CommandError::Failed(format!("cannot write the result: {e}")))
    }
}

/// The bytes of the texts of a record.
fn size(record: &ImportRecord) -> usize {
    let texts = [
        &record.username,
        &record.email,
        &record.mobile,
        &record.name,
    ];
    let texts = texts.into_iter().flatten().map(String::len);
    let roles = record.roles.iter().map(String::len);
    let sum = texts.chain(roles).fold(0_usize, usize::saturating_add);
    sum.saturating_add(record.password_hash.expose().len())
}

/// The state of one import.
struct Run {
    report: Report,
    batch: Vec<ImportRecord>,
    batch_bytes: usize,
    /// The login names so far, as keyed hashes.
    seen: HashSet<u64>,
    key: [u8; 16],
}

impl Run {
    fn new(dry_run: bool, random: &dyn Random) -> Self {
        Self {
            report: Report {
                dry_run,
                ..Report::default()
            },
            batch: Vec::new(),
            batch_bytes: 0,
            seen: HashSet::new(),
            key: random.bytes(),
        }
    }

    /// Refuses a damaged line, and one with a login name that an earlier line has.
    fn admit(&mut self, line: Line) -> Result<ImportRecord, RefusedLine> {
        let refused = |reason: &str, detail: String| RefusedLine {
            line: line.number,
            reason: reason.to_owned(),
            detail,
        };
        let record = line
            .account
            .map_err(|bad| refused("line", bad.to_string()))?;
        let username = record.username.as_deref().map(LoginName::username);
        let email = record.email.as_deref().map(LoginName::email);
        let mobile = record.mobile.as_deref().map(LoginName::mobile);
        // The server refuses names that are not well-formed.
        for name in [username, email, mobile].into_iter().flatten().flatten() {
            if !self.seen.insert(self.short(&name)) {
                let kind = name.kind();
                let detail = format!("an earlier line has the same {kind}");
                return Err(refused("duplicate", detail));
            }
        }
        Ok(record)
    }

    /// Keyed, so that no file can be made in which two names have the same hash.
    fn short(&self, name: &LoginName) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.key);
        hasher.write_u8(name.kind().tag());
        hasher.write(name.as_str().as_bytes());
        hasher.finish()
    }
}

/// The result of an import, as it is printed.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    dry_run: bool,
    lines: u64,
    imported: u64,
    skipped: u64,
    refused: u64,
    /// The number of refused lines by reason.
    reasons: BTreeMap<String, u64>,
    /// The first refused lines.
    refused_lines: Vec<RefusedLine>,
}

impl Report {
    fn add(&mut self, refused: RefusedLine) {
        self.refused = self.refused.saturating_add(1);
        let count = self.reasons.entry(refused.reason.clone()).or_default();
        *count = count.saturating_add(1);
        if self.refused_lines.len() < MAX_LISTED {
            self.refused_lines.push(refused);
        }
    }

    fn totals(&self) -> ImportTotals {
        ImportTotals {
            imported: self.imported,
            skipped: self.skipped,
            refused: self.refused,
        }
    }

    fn progress(&self) -> String {
        format!(
            "{} lines read: {} imported, {} skipped, {} refused",
            self.lines, self.imported, self.skipped, self.refused
        )
    }
}
