//! No output contains a secret or a forged line. Every function is used once, while the log at its most
//! detailed level, the access log, audit records, metrics and error answers are collected.

use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::json;
use sidegate::telemetry::logging::{self, Log};
use sidegate::telemetry::settings::Settings;
use sidegate::telemetry::sink::Sink;
use tracing::level_filters::LevelFilter;

use crate::support::answer::Answer;
use crate::support::client::TestRequest;
use crate::support::harness::{PASSWORD, TestApp};

/// A log in memory.
struct Kept {
    log: Log,
    text: Text,
}

#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Kept {
    /// Collects the log of all threads of this process from now on. It includes other tests, which only
    /// makes the check stricter.
    fn start() -> Self {
        let text = Text::default();
        let settings = Settings {
            level: LevelFilter::TRACE,
            json: false,
        };
        let started = logging::start_into(&settings, Sink::new(text.clone()));
        let log = started.expect("the only log of this process");
        Self { log, text }
    }

    fn text(&self) -> String {
        self.log.finish();
        String::from_utf8_lossy(&self.text.0.lock().unwrap()).into_owned()
    }
}

const NEW: &str = "an entirely different passphrase";
const WRONG: &str = "wrong-guess-e7c1";

#[tokio::test]
async fn s49_no_output_contains_a_secret() {
    let log = Kept::start();
    let folder = tempfile::tempdir().unwrap();
    let settings = "[signup]\nmode = \"open\"\n[login]\nmax_failures = 3\n\
                    [[mount]]\nprefix = \"/auth\"\n\
                    [[mount]]\nprefix = \"/web\"\ndelivery = \"cookies\"\n";
    let app = TestApp::on_disk(folder.path(), settings).await;
    let anon = app.anon();
    let mut secrets = vec![PASSWORD.to_owned(), NEW.to_owned(), WRONG.to_owned()];
    let mut received: Vec<Answer> = Vec::new();

    let account = json!({"username": "eve", "email": "eve@example.org", "password": PASSWORD});
    received.push(anon.post("/auth/signup", account.clone()).await);
    received.push(anon.post("/auth/signup", account).await);
    let first = anon.try_login("eve", PASSWORD).await;
    let device_token = first.json()["deviceToken"].as_str().unwrap().to_owned();
    let known = anon.with_header("X-Device-Token", &device_token);
    received.push(known.try_login("eve", WRONG).await);
    received.push(known.get("/x").await);
    assert_eq!(known.try_login("eve", PASSWORD).await.status, 200);
    secrets.push(device_token);
    let mut eve = anon.holding(&first);
    let (first, stolen) = (eve.clone(), eve.refresh_token.clone());
    let stolen_token = stolen.clone();
    eve.refresh().await;
    eve.refresh().await;
    secrets.extend([
        first.access,
        stolen,
        eve.access.clone(),
        eve.refresh_token.clone(),
    ]);
    received.push(eve.get("/x?query-secret-5d1f=1").await);
    secrets.push("query-secret-5d1f".to_owned());
    let change = json!({"current": PASSWORD, "new": NEW});
    assert_eq!(eve.post("/auth/password", change).await.status, 204);

    let browser = json!({"identifier": "eve", "password": NEW});
    let cookies = anon.post("/web/login", browser).await;
    let value = |name| {
        cookies
            .cookie_pair(name)
            .split_once('=')
            .unwrap()
            .1
            .to_owned()
    };
    secrets.extend(["sidegate_access", "sidegate_refresh"].map(value));
    // The owner may see it, in the session list.
    let device = value("sidegate_device");
    let jar = format!(
        "{}; a=other-cookie-91b2",
        cookies.cookie_pair("sidegate_access")
    );
    secrets.push("other-cookie-91b2".to_owned());
    received.push(anon.with_header("Cookie", &jar).get("/auth/sessions").await);
    received.push(eve.with_header("Cookie", &jar).get("/x").await);

    for wrong in [WRONG, WRONG, WRONG, NEW] {
        received.push(anon.try_login("eve", wrong).await);
    }
    let garbled = format!("{}x", eve.access);
    received.push(eve.with_access(&garbled).get("/x").await);
    for body in [
        format!("{{\"identifier\":\"eve\",\"password\":\"{WRONG}\","),
        format!("{{\"password\":\"{WRONG}\",\"password\":\"{WRONG}\"}}"),
        format!("{{\"identifier\":\"eve\",\"password\":\"{WRONG}\",\"more\":1}}"),
        format!("{{\"identifier\":\"eve\",\"password\":[\"{WRONG}\"]}}"),
        format!("\"{WRONG}\""),
    ] {
        let request = TestRequest::new("POST", "/auth/login").body("application/json", body);
        received.push(request.send(app.address).await);
    }
    let reused = json!({"refreshToken": stolen_token});
    received.push(anon.post("/auth/refresh", reused.clone()).await);
    received.push(anon.post("/auth/logout", reused).await);
    received.push(eve.get("/auth/me").await);
    received.push(eve.logout().await);
    let headers = eve.with_header("Proxy-Authorization", "Basic proxy-secret-77aa");
    secrets.push("proxy-secret-77aa".to_owned());
    received.push(headers.get("/x").await);

    secrets.extend(stored(&app, folder.path()).await);
    let lines = app.access_log(|log| log.lines().count() >= 25).await;
    let records = app.audit(|records| records.len() >= 8).await;
    let metrics = app.admin_get("/metrics").await.text();
    app.stop().await;

    let answers: Vec<String> = received
        .iter()
        .map(|answer| format!("{:?} {}", answer.headers, answer.text()))
        .collect();
    let loud = log.text();
    assert!(loud.contains("sidegate::audit"), "the log was collected");
    for (place, text) in [
        ("the running log", &loud),
        ("the access log", &lines),
        ("the audit", &format!("{records:?}")),
        ("the numbers", &metrics),
        ("the answers", &answers.join("\n")),
    ] {
        for secret in &secrets {
            let at = text.find(secret.as_str());
            // The application returns what it received; the query and other cookies belong to it.
            let is_echo = place == "the answers"
                && ["query-secret-5d1f", "other-cookie-91b2"].contains(&secret.as_str());
            assert!(
                at.is_none() || is_echo,
                "{place} holds {secret}: {}",
                around(text, at)
            );
        }
        let at = text.find(&device).filter(|_| place != "the answers");
        assert!(
            at.is_none(),
            "{place} holds a device cookie: {}",
            around(text, at)
        );
    }
}

/// The text before and after a position.
fn around(text: &str, at: Option<usize>) -> String {
    let at = at.unwrap_or_default();
    let bytes = &text.as_bytes()[at.saturating_sub(200)..text.len().min(at + 80)];
    String::from_utf8_lossy(bytes).into_owned()
}

/// Secrets that must stay in files: hashes, salts, keys.
async fn stored(app: &TestApp, folder: &std::path::Path) -> Vec<String> {
    let mut secrets = Vec::new();
    let users = app.service().operator_users(None, 10).await.unwrap();
    for user in users {
        let hash = user.password.expose().to_owned();
        let mut parts = hash.rsplit('$').map(str::to_owned);
        secrets.extend(parts.next());
        secrets.extend(parts.next());
        secrets.push(hash);
        let sessions = app
            .service()
            .operator_sessions(Some(&user.key), None, 10)
            .await
            .unwrap();
        for session in sessions {
            secrets.push(format!("{:?}", session.salt));
            secrets.push(data_encoding::HEXLOWER.encode(&session.salt));
            secrets.push(data_encoding::BASE64URL_NOPAD.encode(&session.salt));
        }
    }
    for entry in std::fs::read_dir(folder.join("keys")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let long = text.split(|c: char| !c.is_ascii_alphanumeric() && !"-_+/=".contains(c));
        let is_secret = |word: &&str| word.len() >= 40;
        secrets.extend(long.filter(is_secret).map(str::to_owned));
    }
    assert!(secrets.len() > 6, "{}", secrets.len());
    secrets
}

#[tokio::test]
async fn s49_no_input_of_a_client_can_forge_a_line() {
    let app =
        TestApp::with("[policy]\ndefault = \"public\"\n[paths]\nallow = [\"non-ascii\"]\n").await;
    let anon = app
        .anon()
        .with_header("User-Agent", "x\u{85}2027-01-15T08:00:00.000Z forged")
        .with_header("X-Request-Id", "forged-id")
        .with_header("Referer", "\u{9b}31mred");
    for path in [
        "/a%0a2027-01-15T08:00:00.000Z",
        "/a%1b[31m",
        "/\u{202e}gnp.exe",
        "/\u{2028}forged",
        "/\u{9b}31m",
        "/\"},{\"status\":200",
        "/a'b",
    ] {
        anon.get(path).await;
    }
    anon.try_login("name\nforged\u{1b}[31m", "x").await;
    let log = app.access_log(|log| log.lines().count() >= 7).await;
    for line in log.lines() {
        assert!(
            line.starts_with("2027-01-15T08:00:00.000Z 127.0.0.1 "),
            "{line}"
        );
        assert!(line.bytes().all(|b| (0x20..0x7f).contains(&b)), "{line:?}");
        assert!(!line.contains("forged-id"));
    }
}
