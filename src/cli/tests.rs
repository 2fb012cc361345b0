//! The command line as its user sees it: words, exit codes, and who does the work.

use std::cell::RefCell;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

use clap::CommandFactory;

use crate::cli::args::Args;
use crate::cli::load::Loader;
use crate::cli::store::{SalvageReport, VerifyReport};
use crate::cli::{
    App, BackupFile, BackupPlan, Failure, Offline, OfflineError, RestorePlan, RestoreView, Start,
    Surroundings, run,
};
use crate::config::Config;
use crate::control::reply::{AuditView, EndingView, KeyView, SessionView, UserView};
use crate::control::{Reply, Request, listener, wire};
use crate::types::random::SeededRandom;
use crate::types::secret::SecretText;

/// Remembers what it was asked and gives the answers it was given.
#[derive(Default)]
struct FakeApp {
    asked: RefCell<Vec<Request>>,
    answers: RefCell<Vec<Result<Reply, OfflineError>>>,
    served: RefCell<u32>,
    opened: RefCell<u32>,
    closed: RefCell<u32>,
    start: RefCell<Start>,
    verified: RefCell<Option<VerifyReport>>,
}

impl FakeApp {
    fn answering(answers: impl IntoIterator<Item = Result<Reply, OfflineError>>) -> Self {
        let mut answers: Vec<_> = answers.into_iter().collect();
        answers.reverse();
        Self {
            answers: RefCell::new(answers),
            ..Self::default()
        }
    }
}

impl App for FakeApp {
    fn serve(&self, _: Config, loader: Loader, start: Start) -> Result<(), Failure> {
        *self.start.borrow_mut() = start;
        *self.served.borrow_mut() += 1;
        loader.load().map(drop).map_err(|e| Failure(e.to_string()))
    }

    fn demo(&self) -> Result<(), Failure> {
        Err(Failure("the port is taken".to_owned()))
    }

    fn begin_backup<'a>(
        &'a self,
        _: &Config,
        _: BackupPlan,
    ) -> Result<Box<dyn BackupFile + 'a>, Failure> {
        Err(Failure("the disk is full".to_owned()))
    }

    fn restore(&self, _: Config, _: RestorePlan<'_>) -> Result<RestoreView, OfflineError> {
        Err(OfflineError::StoreLocked)
    }

    fn verify_store(
        &self,
        _: &Config,
        progress: &mut dyn FnMut(u64),
    ) -> Result<VerifyReport, OfflineError> {
        progress(10_000);
        self.verified
            .borrow()
            .clone()
            .ok_or(OfflineError::StoreLocked)
    }

    fn salvage_store(
        &self,
        _: &Config,
        to: &Path,
        _: &mut dyn FnMut(u64),
    ) -> Result<SalvageReport, OfflineError> {
        Ok(SalvageReport {
            directory: to.display().to_string(),
            users: 7,
            ..SalvageReport::default()
        })
    }

    fn open_offline<'a>(&'a self, _: Config) -> Result<Box<dyn Offline + 'a>, OfflineError> {
        *self.opened.borrow_mut() += 1;
        Ok(Box::new(FakeStore(self)))
    }
}

struct FakeStore<'a>(&'a FakeApp);

impl Offline for FakeStore<'_> {
    fn execute(&mut self, request: Request) -> Result<Reply, OfflineError> {
        self.0.asked.borrow_mut().push(request);
        self.0.answers.borrow_mut().pop().expect("one more answer")
    }

    fn close(self: Box<Self>) -> Result<(), OfflineError> {
        *self.0.closed.borrow_mut() += 1;
        Ok(())
    }
}

/// What a command printed and how it ended.
struct Ran {
    code: u8,
    out: String,
    err: String,
}

/// Runs a command on a sled store below `dir`, where no server runs unless the test starts one.
fn ran_in(dir: &Path, app: &FakeApp, args: &[&str]) -> Ran {
    let store = format!("sled:{}", dir.display());
    let env = [
        ("SIDEGATE__UPSTREAM__URL", "http://127.0.0.1:3000"),
        ("SIDEGATE__STORE__URL", &store),
    ];
    ran_with(&env, app, args)
}

fn ran_with(env: &[(&str, &str)], app: &FakeApp, args: &[&str]) -> Ran {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut surroundings = Surroundings {
        out: &mut out,
        err: &mut err,
        password: &mut |_: &str| Ok(SecretText::new("blue kettle on fire")),
        env: env
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        random: &SeededRandom::new(7),
    };
    let empty = tempfile::NamedTempFile::new().unwrap();
    let mut line: Vec<OsString> = vec!["sidegate".into()];
    line.extend(args.iter().map(OsString::from));
    if !args.contains(&"--config") && !args.is_empty() {
        // Never the file of whoever runs the tests.
        line.extend(["--config".into(), empty.path().into()]);
    }
    let code = run(line, app, &mut surroundings);
    Ran {
        code,
        out: String::from_utf8(out).unwrap(),
        err: String::from_utf8(err).unwrap(),
    }
}

/// A command without a server; the store's directory is gone afterwards.
fn ran(app: &FakeApp, args: &[&str]) -> Ran {
    ran_in(tempfile::tempdir().unwrap().path(), app, args)
}

fn ann() -> UserView {
    UserView {
        id: "0193b0a0-0000-7000-8000-000000000001".to_owned(),
        tenant: "default".to_owned(),
        username: Some("ann".to_owned()),
        roles: vec!["admin".to_owned(), "user".to_owned()],
        status: "enabled".to_owned(),
        locked_until: Some("2026-01-01T00:00:00.000Z".to_owned()),
        created_at: "2025-01-01T00:00:00.000Z".to_owned(),
        updated_at: "2025-01-01T00:00:00.000Z".to_owned(),
        ..UserView::default()
    }
}

#[test]
fn every_command_explains_itself_with_examples() {
    fn walk(command: &mut clap::Command, all: &mut Vec<String>) {
        let help = command.render_long_help().to_string();
        assert!(help.contains("Example"), "{help}");
        all.push(help);
        for sub in command.get_subcommands_mut() {
            if sub.get_name() != "help" {
                walk(sub, all);
            }
        }
    }
    let mut root = Args::command();
    root.build();
    let mut all = Vec::new();
    walk(&mut root, &mut all);
    assert!(all.len() > 20, "only {} commands were seen", all.len());
    insta::assert_snapshot!("help", all.join("\n----------------\n\n"));
}

#[test]
fn help_is_an_answer_and_wrong_use_is_an_error() {
    let app = FakeApp::default();
    let help = ran(&app, &["--help"]);
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    for wrong in [
        &[][..],
        &["fly"],
        &["users", "add"],
        &["users", "add", "a b"],
        &["users", "add", "ann", "--password", "secret"],
        &["users", "add", "ann", "--role", "a,b"],
        &["users", "add", "ann", "--email", "ann"],
        &["users", "add", "ann", "--mobile", "12"],
        &["users", "show", "a b"],
        &["users", "list", "--limit", "0"],
        &["sessions", "end"],
        &["sessions", "end", "--all", "--user", "ann"],
        &["sessions", "end", "--id", "1"],
        &["audit", "list", "--limit", "10001"],
    ] {
        let outcome = ran(&app, wrong);
        assert_eq!(outcome.code, 2, "{wrong:?}: {}", outcome.err);
        assert_eq!(outcome.out, "", "{wrong:?}");
        assert!(!outcome.err.is_empty(), "{wrong:?}");
    }
    assert!(app.asked.borrow().is_empty(), "nothing was done");
}

#[test]
fn a_wrong_configuration_ends_every_command_with_two() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        file.path(),
        "[server]\nlisen = 1\n[upstream]\nurl = \"x\"\n",
    )
    .unwrap();
    let path = file.path().to_str().unwrap();
    let app = FakeApp::default();
    for command in ["serve", "check", "drain"] {
        let outcome = ran_with(&[], &app, &[command, "--config", path]);
        assert_eq!(outcome.code, 2);
        assert_eq!(
            outcome.err.replace(path, "config.toml"),
            "config.toml:2:1: server.lisen: unknown key; did you mean \"listen\"?\n\
             config.toml:4:1: upstream.url: is no address of an upstream; \
             write \"http://host:port\", \"https://host:port\" or \"h2c://host:port\" without a path, \
             or \"unix:/path\"\n"
        );
    }
    let missing = ran_with(&[], &app, &["serve", "--config", "/nonexistent.toml"]);
    assert_eq!(missing.code, 2);
    assert_eq!(
        missing.err,
        "/nonexistent.toml: cannot be read: No such file or directory (os error 2); \
         name the configuration with --config FILE\n"
    );
    std::fs::write(file.path(), b"\xff").unwrap();
    let binary = ran_with(&[], &app, &["serve", "--config", path]);
    assert_eq!(
        (binary.code, binary.err.contains("is not UTF-8")),
        (2, true)
    );
    assert_eq!(*app.served.borrow(), 0);
}

#[test]
fn check_explains_the_configuration_in_words_and_in_json() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = r#"
[server]
threads = 2
trusted_proxies = ["10.0.0.0/8"]
public_url = "https://app.example.org"
[upstream]
url = "http://127.0.0.1:3000"
[cookies]
secure = false
danger_insecure = true
[signup]
mode = "open"
[headers]
preset = "custom"
[headers.custom]
sub = "X-Id"
[[rule]]
path = "/public/**"
access = "public"
[[rule]]
path = "/admin/*"
methods = ["GET", "POST"]
host = "app.example.org"
roles = ["admin", "owner"]
[[rule]]
path = "/x"
access = "optional"
[[mount]]
delivery = "hybrid"
pages = true
"#;
    std::fs::write(file.path(), text).unwrap();
    let path = file.path().to_str().unwrap();
    let app = FakeApp::default();
    let outcome = ran_with(&[], &app, &["check", "--config", path]);
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    insta::assert_snapshot!("check", outcome.out.replace(path, "config.toml"));
    let outcome = ran_with(&[], &app, &["check", "--json", "--config", path]);
    insta::assert_snapshot!("check_json", outcome.out);
}

#[test]
fn a_look_into_a_store_says_what_is_wrong_and_exits_with_it() {
    let app = FakeApp::default();
    let busy = ran(&app, &["store", "verify"]);
    assert_eq!(busy.code, 1);
    assert!(
        busy.err.contains("in use by a running server"),
        "{}",
        busy.err
    );
    let sound = VerifyReport {
        sound: true,
        directory: "./data".to_owned(),
        commit: Some(12),
        acknowledged: Some(12),
        records: 70,
        ..VerifyReport::default()
    };
    *app.verified.borrow_mut() = Some(sound.clone());
    let outcome = ran(&app, &["store", "verify"]);
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert!(outcome.out.contains("last commit   12"), "{}", outcome.out);
    assert!(
        outcome.err.contains("read 10000 records"),
        "{}",
        outcome.err
    );
    *app.verified.borrow_mut() = Some(VerifyReport {
        sound: false,
        problems: vec!["3 commits are lost".to_owned()],
        ..sound
    });
    let outcome = ran(&app, &["store", "verify", "--json"]);
    assert_eq!(outcome.code, 1);
    let json: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(json["sound"], false);
    assert_eq!(json["problems"][0], "3 commits are lost");
    assert!(
        outcome.err.contains("sidegate store salvage"),
        "{}",
        outcome.err
    );
    let outcome = ran(&app, &["store", "salvage", "new"]);
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert!(outcome.out.contains("7 accounts"), "{}", outcome.out);
}

#[test]
fn a_start_on_an_empty_store_or_other_keys_has_to_be_asked_for() {
    for (flags, new_store, new_keys) in [
        (&["serve"] as &[&str], false, false),
        (&["serve", "--new-store"], true, false),
        (&["serve", "--new-keys"], false, true),
    ] {
        let app = FakeApp::default();
        assert_eq!(ran(&app, flags).code, 0);
        let start = Start {
            new_store,
            new_keys,
        };
        assert_eq!(*app.start.borrow(), start);
    }
}

#[test]
fn serve_gets_the_configuration_and_the_means_to_read_it_again() {
    let app = FakeApp::default();
    let outcome = ran(&app, &["serve"]);
    assert_eq!(
        (outcome.code, *app.served.borrow()),
        (0, 1),
        "{}",
        outcome.err
    );
    let demo = ran(&app, &["demo"]);
    assert_eq!(
        (demo.code, demo.err.as_str()),
        (1, "sidegate: the port is taken\n")
    );
}

#[test]
fn without_a_server_the_work_is_done_here() {
    let app = FakeApp::answering([Ok(Reply::User(Box::new(ann())))]);
    let outcome = ran(
        &app,
        &["users", "add", "ann", "--role", "admin", "--role", "user"],
    );
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    insta::assert_snapshot!("users_add", outcome.out);
    let asked = app.asked.borrow();
    let [
        Request::UsersAdd {
            username,
            roles,
            password,
            ..
        },
    ] = asked.as_slice()
    else {
        panic!("asked {asked:?}");
    };
    assert_eq!((username.as_str(), roles.len()), ("ann", 2));
    assert_eq!(password.expose(), "blue kettle on fire");
    assert!(
        !outcome.out.contains("kettle"),
        "a typed password is not shown"
    );
}

#[test]
fn a_made_up_password_is_shown_once_and_is_the_one_that_is_set() {
    let app = FakeApp::answering([Ok(Reply::Done("the password is set".to_owned()))]);
    let outcome = ran(&app, &["users", "set-password", "ann", "--generate"]);
    let asked = app.asked.borrow();
    let [Request::UsersSetPassword { password, .. }] = asked.as_slice() else {
        panic!("asked {asked:?}");
    };
    assert_eq!(password.expose().len(), 29);
    assert_eq!(
        outcome.out,
        format!("the password is set\npassword  {}\n", password.expose())
    );
    let app = FakeApp::answering([Ok(Reply::User(Box::new(ann())))]);
    let outcome = ran(&app, &["users", "add", "ann", "--generate", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(value["user"]["username"], "ann");
    assert_eq!(value["password"].as_str().unwrap().len(), 29);
}

#[test]
fn no_password_on_standard_input_is_wrong_use() {
    let app = FakeApp::default();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut surroundings = Surroundings {
        out: &mut out,
        err: &mut err,
        password: &mut |_: &str| Err(io::Error::other("there is no password on standard input")),
        env: vec![(
            "SIDEGATE__UPSTREAM__URL".to_owned(),
            "unix:/run/app.sock".to_owned(),
        )],
        random: &SeededRandom::new(7),
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let args = ["sidegate", "users", "add", "ann", "--config", path].map(OsString::from);
    assert_eq!(run(args, &app, &mut surroundings), 2);
    assert_eq!(
        String::from_utf8(err).unwrap(),
        "sidegate: there is no password on standard input; \
         write it to standard input, or use --generate\n"
    );
}

#[test]
fn only_a_running_server_can_be_drained_reloaded_or_asked_for_its_health() {
    let app = FakeApp::default();
    let dir = tempfile::tempdir().unwrap();
    for command in ["healthcheck", "drain", "reload"] {
        let outcome = ran_in(dir.path(), &app, &[command]);
        assert_eq!(outcome.code, 1);
        let socket = dir.path().join("control.sock");
        assert_eq!(
            outcome.err,
            format!(
                "sidegate: no server is running: nobody answers on {}\n",
                socket.display()
            )
        );
    }
    assert!(app.asked.borrow().is_empty());
}

#[test]
fn a_locked_store_without_a_server_is_explained() {
    let app = FakeApp::answering([Err(OfflineError::StoreLocked)]);
    let outcome = ran(&app, &["users", "list"]);
    assert_eq!(outcome.code, 1);
    assert!(
        outcome
            .err
            .contains("another process holds the store, yet no server answers on")
    );
    let app = FakeApp::answering([Err(OfflineError::Failed("the disk is full".to_owned()))]);
    let outcome = ran(&app, &["users", "list"]);
    assert_eq!(
        (outcome.code, outcome.err.as_str()),
        (1, "sidegate: the disk is full\n")
    );
    let env = [
        ("SIDEGATE__UPSTREAM__URL", "http://127.0.0.1:3000"),
        ("SIDEGATE__STORE__URL", "memory:"),
        ("SIDEGATE__SERVER__CONTROL", ""),
    ];
    let app = FakeApp::default();
    let outcome = ran_with(&env, &app, &["users", "list"]);
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.err.contains("the store is in memory"),
        "{}",
        outcome.err
    );
    assert!(app.asked.borrow().is_empty());
}

#[test]
fn a_refusal_is_told_and_ends_with_one() {
    let app = FakeApp::answering([Ok(Reply::Failed("there is no user ann".to_owned()))]);
    let outcome = ran(&app, &["users", "show", "ann"]);
    assert_eq!((outcome.code, outcome.out.as_str()), (1, ""));
    assert_eq!(outcome.err, "sidegate: there is no user ann\n");
    let app = FakeApp::answering([Ok(Reply::Ended(1))]);
    let outcome = ran(&app, &["users", "show", "ann"]);
    assert_eq!(outcome.code, 1);
}

#[test]
fn listings_are_aligned_and_say_when_they_are_empty() {
    let session = SessionView {
        id: "s1".to_owned(),
        user_id: "u1".to_owned(),
        device_name: Some("evil\u{1b}[2J phone".to_owned()),
        created_at: "2025-01-01T00:00:00.000Z".to_owned(),
        ..SessionView::default()
    };
    let key = KeyView {
        id: "k1".to_owned(),
        state: "active".to_owned(),
        ..KeyView::default()
    };
    let record = AuditView {
        at: "2025-01-01T00:00:00.000Z".to_owned(),
        action: "login".to_owned(),
        ..AuditView::default()
    };
    let cases: [(&[&str], Reply, Reply); 4] = [
        (
            &["users", "list"],
            Reply::Users {
                users: vec![ann()],
                next: None,
            },
            Reply::Users {
                users: Vec::new(),
                next: None,
            },
        ),
        (
            &["sessions", "list"],
            Reply::Sessions {
                sessions: vec![session],
                next: None,
            },
            Reply::Sessions {
                sessions: Vec::new(),
                next: None,
            },
        ),
        (
            &["keys", "list"],
            Reply::Keys(vec![key]),
            Reply::Keys(Vec::new()),
        ),
        (
            &["audit", "list"],
            Reply::Audit {
                records: vec![record],
                faults: Vec::new(),
            },
            Reply::Audit {
                records: Vec::new(),
                faults: vec!["audit-1.log, line 7: cut".to_owned()],
            },
        ),
    ];
    let mut shown = String::new();
    for (command, full, empty) in cases {
        for reply in [full, empty] {
            let json = [command, &["--json"]].concat();
            let app = FakeApp::answering([Ok(reply.clone()), Ok(reply)]);
            let text = ran(&app, command);
            shown.extend([text.out.as_str(), &text.err, "\n"]);
            let value = ran(&app, &json).out;
            let value: serde_json::Value = serde_json::from_str(&value).unwrap();
            assert!(value.is_array(), "{value}");
        }
    }
    insta::assert_snapshot!("listings", shown);
}

#[test]
fn a_long_list_of_users_is_fetched_by_pages_up_to_the_limit() {
    let page = |ids: std::ops::Range<u32>, next: Option<&str>| {
        let users = ids
            .map(|id| UserView {
                id: id.to_string(),
                ..ann()
            })
            .collect();
        Ok(Reply::Users {
            users,
            next: next.map(str::to_owned),
        })
    };
    let app = FakeApp::answering([page(0..500, Some("499")), page(500..600, Some("599"))]);
    let outcome = ran(&app, &["users", "list", "--limit", "600", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(value.as_array().unwrap().len(), 600);
    assert_eq!(
        outcome.err,
        "there are more users: go on with --after 599\n"
    );
    let store = (*app.opened.borrow(), *app.closed.borrow());
    assert_eq!(store, (1, 1), "opened once for all pages, and closed");
    let asked = app.asked.borrow();
    assert_eq!(
        asked.as_slice(),
        [
            Request::UsersList {
                after: None,
                limit: 500
            },
            Request::UsersList {
                after: Some("499".to_owned()),
                limit: 100
            },
        ]
    );
}

#[test]
fn a_long_list_of_sessions_is_fetched_by_pages_and_says_when_it_was_cut() {
    let id = |n: u8| format!("0193b0a0-0000-7000-8000-0000000000{n:02}");
    let key = |n| {
        let owner = serde_json::json!({ "tenant": "default", "user": id(n) });
        serde_json::json!({ "owner": owner, "id": id(n) })
    };
    let page = |ids: std::ops::Range<u32>, next: u8| {
        let sessions = ids
            .map(|id| SessionView {
                id: id.to_string(),
                ..SessionView::default()
            })
            .collect();
        let next = serde_json::from_value(key(next)).unwrap();
        Ok(Reply::Sessions { sessions, next })
    };
    let pages = || [page(0..500, 1), page(500..700, 2)];
    let app = FakeApp::answering(pages());
    let outcome = ran(&app, &["sessions", "list", "--limit", "700", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(value.as_array().unwrap().len(), 700);
    assert_eq!(outcome.err, "there are more sessions; raise --limit\n");
    assert_eq!(
        app.asked.borrow().last(),
        Some(&Request::SessionsList {
            user: None,
            after: serde_json::from_value(key(1)).unwrap(),
            limit: 200
        })
    );
    let app = FakeApp::answering(pages());
    let outcome = ran(&app, &["sessions", "list", "--limit", "700"]);
    assert_eq!(outcome.out.lines().count(), 701, "the headings come once");
}

#[test]
fn the_end_of_all_sessions_shows_how_far_it_has_come_and_ends_with_the_count() {
    let step = |removed, complete| {
        Ok(Reply::Ending(EndingView {
            found: 50_000,
            removed,
            ended: removed - removed / 10,
            complete,
        }))
    };
    let steps = || [step(0, false), step(20_000, false), step(50_000, true)];
    let app = FakeApp::answering(steps());
    let outcome = ran(&app, &["sessions", "end", "--all"]);
    assert_eq!(
        (outcome.code, outcome.out.as_str()),
        (0, "45000 sessions ended\n")
    );
    assert_eq!(
        outcome.err,
        "all 50000 sessions are over; removing their records\n20000 of 50000 records removed\n"
    );
    let app = FakeApp::answering(steps());
    let outcome = ran(&app, &["sessions", "end", "--all", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(value, serde_json::json!({ "ended": 45_000 }));
    let app = FakeApp::answering([step(0, true)]);
    let outcome = ran(&app, &["sessions", "end", "--all"]);
    assert_eq!(
        (outcome.out.as_str(), outcome.err.as_str()),
        ("0 sessions ended\n", "")
    );
}

/// Runs `command` while a server on a real socket gives one answer; returns what it was asked.
fn with_server(reply: &Reply, command: &[&str]) -> (Ran, Request) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("control.sock");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let bound = runtime
        .block_on(listener::bind(&socket, &SeededRandom::new(3)))
        .unwrap();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            runtime.block_on(async {
                let wait = Duration::from_secs(10);
                let (mut stream, _) = bound.accept().await.unwrap();
                let request = wire::receive(&mut stream, wait).await.unwrap();
                wire::answer(&mut stream, reply, wait).await.unwrap();
                request
            })
        });
        let app = FakeApp::default();
        let outcome = ran_in(dir.path(), &app, command);
        assert!(
            app.asked.borrow().is_empty(),
            "the running server does the work"
        );
        (outcome, server.join().unwrap())
    })
}

#[test]
fn a_running_server_does_the_work() {
    let health = |ready| Reply::Health {
        ready,
        detail: "store ok".to_owned(),
    };
    let (outcome, asked) = with_server(&health(true), &["healthcheck"]);
    assert_eq!((outcome.code, asked), (0, Request::Health));
    let (outcome, _) = with_server(&health(false), &["healthcheck"]);
    assert_eq!(
        (outcome.code, outcome.err.as_str()),
        (1, "sidegate: not ready: store ok\n")
    );
    let (outcome, asked) = with_server(&Reply::Done("draining".to_owned()), &["drain"]);
    assert_eq!(
        (outcome.out.as_str(), asked),
        ("draining\n", Request::Drain)
    );
    let (outcome, asked) = with_server(&Reply::Ended(3), &["sessions", "end", "--user", "ann"]);
    assert_eq!(outcome.out, "3 sessions ended\n");
    assert!(matches!(asked, Request::SessionsEnd(_)));
    let (outcome, asked) = with_server(&Reply::User(Box::new(ann())), &["users", "add", "ann"]);
    assert_eq!(outcome.code, 0);
    let Request::UsersAdd { password, .. } = asked else {
        panic!("asked {asked:?}");
    };
    assert_eq!(password.expose(), "blue kettle on fire");
}
