//! What does `users import` send, print and return?

use std::fmt::Write as _;

use super::*;
use crate::control::import::ImportRecord;
use crate::control::reply::{ImportedView, RefusedLine};
use crate::control::request::ImportTotals;

fn marked() -> Reply {
    Reply::Done(String::new())
}

fn answering(replies: impl IntoIterator<Item = Reply>) -> FakeApp {
    FakeApp::answering(replies.into_iter().map(Ok))
}

fn imported(imported: u64, skipped: u64, refused: Vec<RefusedLine>) -> Reply {
    Reply::UsersImported(ImportedView {
        imported,
        skipped,
        refused,
    })
}

fn file(name: &str, text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

fn batches(app: &FakeApp) -> Vec<Vec<ImportRecord>> {
    let batch = |request: &Request| match request {
        Request::UsersImport { accounts, .. } => Some(accounts.clone()),
        _ => None,
    };
    app.asked.borrow().iter().filter_map(batch).collect()
}

#[test]
fn a_complete_import_exits_0_and_marks_its_beginning_and_end() {
    let (_dir, path) = file("a.htpasswd", "ann:{SHA}x\nbob:{SHA}y\n");
    let app = answering([marked(), imported(1, 1, Vec::new()), marked()]);
    let outcome = ran(&app, &["users", "import", &path, "--role", "user"]);
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    let text: Vec<&str> = outcome.out.split_whitespace().collect();
    let expected = "lines 2 imported 1 skipped, exist already 1 refused 0";
    assert_eq!(text.join(" "), expected);
    let asked = app.asked.borrow();
    assert_eq!(asked[0], Request::UsersImportMark { end: None });
    let totals = ImportTotals {
        imported: 1,
        skipped: 1,
        refused: 0,
    };
    assert_eq!(asked[2], Request::UsersImportMark { end: Some(totals) });
    drop(asked);
    let roles: Vec<Vec<String>> = batches(&app)[0].iter().map(|a| a.roles.clone()).collect();
    assert_eq!(roles, [["user"], ["user"]]);
    assert_eq!(*app.closed.borrow(), 1);
}

#[test]
fn refused_lines_are_printed_counted_by_reason_and_exit_1() {
    let text = "username,email,password_hash\nann,a@example.org,SECRET1\nANN,,SECRET2\n\
        bob,A@example.org,SECRET3\ncid,SECRET4\ndan,,SECRET5\n";
    let (_dir, path) = file("a.csv", text);
    let refused = RefusedLine {
        line: 6,
        reason: "hash_unknown".to_owned(),
        detail: "not a hash of a known kind".to_owned(),
    };
    let app = answering([imported(1, 0, vec![refused])]);
    let outcome = ran(&app, &["users", "import", &path, "--dry-run", "--json"]);
    assert_eq!(outcome.code, 1);
    let report: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(report["lines"], 5);
    assert_eq!(report["imported"], 1);
    assert_eq!(report["refused"], 4);
    assert_eq!(report["dryRun"], true);
    let reasons = serde_json::json!({"duplicate": 2, "line": 1, "hash_unknown": 1});
    assert_eq!(report["reasons"], reasons);
    assert_eq!(report["refusedLines"].as_array().unwrap().len(), 4);
    for line in [
        "line 3: duplicate: an earlier line has the same username",
        "line 4: duplicate: an earlier line has the same email",
        "line 5: line: 2 fields where the header has 3",
        "line 6: hash_unknown: not a hash of a known kind",
        "sidegate: 4 lines were refused",
    ] {
        assert!(
            outcome.err.lines().any(|l| l == line),
            "{line}: {}",
            outcome.err
        );
    }
    assert!(!outcome.err.contains("SECRET") && !outcome.out.contains("SECRET"));
    let asked = app.asked.borrow();
    assert_eq!(asked.len(), 1, "a check leaves no mark in the audit log");
    assert!(matches!(
        asked[0],
        Request::UsersImport { dry_run: true, .. }
    ));
}

#[test]
fn accounts_are_sent_in_batches_that_fit_a_request() {
    let mut text = String::new();
    for n in 0..450 {
        writeln!(text, "u{n}:{{SHA}}x").unwrap();
    }
    let (_dir, path) = file("a.htpasswd", &text);
    let answers = [imported(200, 0, Vec::new()), imported(200, 0, Vec::new())];
    let answers = answers.into_iter().chain([imported(50, 0, Vec::new())]);
    let app = answering(answers);
    let outcome = ran(&app, &["users", "import", &path, "--dry-run"]);
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    let sizes: Vec<usize> = batches(&app).iter().map(Vec::len).collect();
    assert_eq!(sizes, [200, 200, 50]);
    // The longest lines of characters for which JSON needs most bytes.
    let hash = "\u{1}".repeat(16_000);
    let mut text = String::new();
    for n in 0..9 {
        writeln!(text, "v{n}:{hash}").unwrap();
    }
    let (_dir, path) = file("a.htpasswd", &text);
    let app = answering([imported(7, 0, Vec::new()), imported(2, 0, Vec::new())]);
    assert_eq!(ran(&app, &["users", "import", &path, "--dry-run"]).code, 0);
    for request in app.asked.borrow().iter() {
        wire::encode(request, wire::MAX_REQUEST).unwrap();
    }
}

#[test]
fn a_file_that_cannot_be_used_exits_2_and_nothing_is_sent() {
    let (_dir, unnamed) = file("passwords", "ann:x\n");
    let (_other, wrong) = file("a.csv", "username,shoe_size\nann,44\n");
    for (args, words) in [
        (vec![unnamed.as_str()], "use --format"),
        (
            vec![wrong.as_str()],
            "line 1: the header of the CSV file names an unknown column",
        ),
        (vec!["/nonexistent/a.csv"], "cannot be read"),
        (
            vec![unnamed.as_str(), "--format", "xml"],
            "htpasswd, csv and jsonl",
        ),
    ] {
        let app = FakeApp::default();
        let outcome = ran(&app, &[&["users", "import"], args.as_slice()].concat());
        assert_eq!(outcome.code, 2, "{}", outcome.err);
        assert!(outcome.err.contains(words), "{}", outcome.err);
        assert!(app.asked.borrow().is_empty());
    }
}

#[test]
fn a_failure_in_between_is_marked_and_the_message_says_how_to_go_on() {
    let (_dir, path) = file("a.htpasswd", "ann:{SHA}x\n");
    let failed = Reply::Failed("the store is full".to_owned());
    let app = answering([marked(), failed, marked()]);
    let outcome = ran(&app, &["users", "import", &path]);
    assert_eq!(outcome.code, 1);
    let words = "the store is full; 0 of 1 lines were done: the same command goes on";
    assert!(outcome.err.contains(words), "{}", outcome.err);
    let totals = Some(ImportTotals::default());
    assert_eq!(
        app.asked.borrow()[2],
        Request::UsersImportMark { end: totals }
    );
}
