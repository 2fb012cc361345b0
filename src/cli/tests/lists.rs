//! How are lists and progress printed?

use super::*;

#[test]
fn lists_are_aligned_and_state_when_they_are_empty() {
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
fn a_long_list_of_sessions_is_fetched_by_pages_and_states_when_it_is_truncated() {
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
fn the_end_of_all_sessions_shows_its_progress_and_the_final_count() {
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
