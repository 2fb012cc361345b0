//! The control socket with real sockets, and its framing with any bytes.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use crate::control::listener::{self, BindError};
use crate::control::reply::{Reply, UserView};
use crate::control::request::{AuditAction, Request, SessionsToEnd, Since};
use crate::control::wire::{self, CallError, MAX_REPLY, MAX_REQUEST, WireError};
use crate::types::named::Named;
use crate::types::random::SeededRandom;
use crate::types::secret::SecretText;

const SOON: Duration = Duration::from_secs(10);

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Serves one connection with this reply.
async fn serve_one(listener: &UnixListener, reply: Reply) -> Result<Request, WireError> {
    let (mut stream, _) = listener.accept().await.unwrap();
    let request = wire::receive(&mut stream, SOON).await;
    let reply = request.as_ref().map_or_else(wire::refuse, |_| reply);
    wire::answer(&mut stream, &reply, SOON).await.unwrap();
    request
}

fn password() -> Request {
    Request::UsersSetPassword {
        user: "ann".parse().unwrap(),
        password: SecretText::new("blue kettle on fire"),
    }
}

#[test]
fn a_request_reaches_the_server_and_returns_its_answer() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let listener = listener::bind(&path, &SeededRandom::new(1)).await.unwrap();
        let reply = Reply::User(Box::new(UserView {
            id: "1".to_owned(),
            ..UserView::default()
        }));
        let asked = password();
        let (got, answered) = tokio::join!(
            serve_one(&listener, reply.clone()),
            wire::call(&path, &asked, SOON)
        );
        assert_eq!(got.unwrap(), asked);
        assert_eq!(answered.unwrap(), reply);
    });
}

#[test]
fn only_the_owner_may_connect_and_no_temporary_file_remains() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let _listener = listener::bind(&path, &SeededRandom::new(1)).await.unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    });
}

#[test]
fn a_stale_socket_is_replaced_and_one_in_use_is_not() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        drop(listener::bind(&path, &SeededRandom::new(1)).await.unwrap());
        let no_server = wire::call(&path, &Request::Health, SOON).await;
        assert!(
            matches!(no_server, Err(CallError::NoServer)),
            "{no_server:?}"
        );
        let listener = listener::bind(&path, &SeededRandom::new(2)).await.unwrap();
        let second = listener::bind(&path, &SeededRandom::new(3)).await;
        assert!(matches!(second, Err(BindError::InUse(_))));
        drop(listener);
        let file = dir.path().join("file");
        std::fs::write(&file, "precious").unwrap();
        let on_file = listener::bind(&file, &SeededRandom::new(4)).await;
        assert!(matches!(on_file, Err(BindError::Occupied(_))));
        assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    });
}

#[test]
fn without_a_socket_there_is_no_server() {
    let outcome = run(wire::call(
        "/nonexistent/control.sock".as_ref(),
        &Request::Drain,
        SOON,
    ));
    assert!(matches!(outcome, Err(CallError::NoServer)), "{outcome:?}");
}

#[test]
fn a_silent_server_does_not_block_a_command() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let _listener = listener::bind(&path, &SeededRandom::new(1)).await.unwrap();
        let outcome = wire::call(&path, &Request::Health, Duration::from_millis(20)).await;
        assert!(matches!(outcome, Err(CallError::Silent(_))), "{outcome:?}");
    });
}

#[test]
fn garbage_oversize_silence_and_half_lines_are_refused() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let listener = listener::bind(&path, &SeededRandom::new(1)).await.unwrap();
        let long = vec![b'x'; MAX_REQUEST + 1];
        let sent: [(&[u8], &str); 3] = [
            (b"{\"format_disk\":{}}\n", "not a message of this version"),
            (b"\xff\xfe\n", "not a message of this version"),
            (&long, "a line of more than 1048576 bytes"),
        ];
        for (bytes, why) in sent {
            let client = async {
                let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
                // A server that has read enough may close before all is sent.
                drop(stream.write_all(bytes).await);
                let mut answer = String::new();
                drop(stream.read_to_string(&mut answer).await);
                answer
            };
            let (got, answer) = tokio::join!(serve_one(&listener, Reply::Ended(0)), client);
            assert_eq!(got.unwrap_err().to_string(), why);
            assert!(answer.contains(why), "{answer}");
        }
        let (mut here, mut there) = tokio::io::duplex(64);
        there.write_all(b"\"hea").await.unwrap();
        let slow = wire::receive(&mut here, Duration::from_millis(20)).await;
        assert!(matches!(slow, Err(WireError::Slow)), "{slow:?}");
        drop(there);
        let cut = wire::receive(&mut here, SOON).await;
        assert!(matches!(cut, Err(WireError::Cut)), "{cut:?}");
    });
}

#[test]
fn an_oversized_answer_is_replaced_by_an_error() {
    run(async {
        let (mut here, mut there) = tokio::io::duplex(4096);
        let reply = Reply::Done("x".repeat(MAX_REPLY));
        wire::answer(&mut here, &reply, SOON).await.unwrap();
        drop(here);
        let mut line = Vec::new();
        there.read_to_end(&mut line).await.unwrap();
        let got: Reply = wire::decode(&line).unwrap();
        assert_eq!(
            got,
            Reply::Failed("the answer is too long; ask for less".to_owned())
        );
    });
}

#[test]
fn no_debug_output_contains_a_password() {
    let request = password();
    assert!(!format!("{request:?}").contains("kettle"));
    let line = wire::encode(&request, MAX_REQUEST).unwrap();
    assert!(String::from_utf8_lossy(&line).contains("kettle"));
    let mut broken = line.to_vec();
    broken.truncate(line.len() - 3);
    let error = wire::decode::<Request>(&broken).unwrap_err().to_string();
    assert!(!error.contains("kettle"), "{error}");
}

#[test]
fn a_user_is_named_by_id_or_by_any_login() {
    let id = "0193b0a0-0000-7000-8000-000000000001";
    assert!(matches!(id.parse(), Ok(Named::Id(_))));
    for login in ["ann", "ann@example.org", "+49 151 1234567"] {
        assert!(matches!(login.parse(), Ok(Named::Login(_))), "{login}");
    }
    for bad in ["", "a b", "@", "a/b"] {
        assert!(bad.parse::<Named>().is_err(), "{bad:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_request_survives_a_round_trip(
        user in "[a-z][a-z0-9._-]{0,20}",
        name in proptest::option::of("\\PC{0,40}"),
        secret in "\\PC{0,60}",
        limit: u32,
    ) {
        let user_ref: Named = user.parse().unwrap();
        for request in [
            Request::UsersAdd {
                username: user.clone(),
                email: name.clone(),
                mobile: None,
                name: name.clone(),
                roles: vec!["admin".parse().unwrap()],
                password: SecretText::new(secret.clone()),
            },
            Request::UsersList { after: name.clone(), limit },
            Request::SessionsEnd(SessionsToEnd::User(user_ref.clone())),
            Request::AuditList {
                user: Some(user_ref.clone()),
                action: Some(AuditAction::Login),
                since: Some(Since::Ago(60)),
                limit,
            },
            Request::AuditVerify,
        ] {
            let line = wire::encode(&request, MAX_REQUEST).unwrap();
            let end = line.iter().position(|b| *b == b'\n');
            prop_assert_eq!(end, Some(line.len() - 1), "one line");
            prop_assert_eq!(wire::decode::<Request>(&line).unwrap(), request);
        }
    }

    #[test]
    fn any_bytes_decode_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(wire::decode::<Request>(&bytes));
        drop(wire::decode::<Reply>(&bytes));
    }
}
