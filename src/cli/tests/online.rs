//! How does a command use a running server?

use super::*;

/// Runs `command` with a server on a real socket that gives one reply; returns its request.
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
fn a_command_uses_a_running_server() {
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
