//! What did the server answer?

use serde_json::Value;

/// The manual: every error must be in its table.
const MANUAL: &str = include_str!("../../../docs/api.md");

/// An HTTP answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("no JSON ({error}): {} {}", self.status, self.text()),
        }
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The only value of a header.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} occurs {} times", all.len());
        all.first().copied()
    }

    /// Every value of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = |(n, _): &&(String, String)| n.eq_ignore_ascii_case(name);
        let values = self.headers.iter().filter(named);
        values.map(|(_, value)| value.as_str()).collect()
    }

    /// The `Set-Cookie` line of a cookie, without `__Host-` or with it.
    #[track_caller]
    pub(crate) fn set_cookie(&self, name: &str) -> &str {
        let begin = format!("{name}=");
        let lines = self.all("set-cookie");
        let is_wanted = |line: &&str| line.trim_start_matches("__Host-").starts_with(&begin);
        lines.into_iter().find(is_wanted).expect("the cookie")
    }

    /// A cookie that was set, in the form in which a browser sends it back.
    #[track_caller]
    pub(crate) fn cookie_pair(&self, name: &str) -> String {
        let line = self.set_cookie(name);
        line.split(';').next().unwrap_or_default().to_owned()
    }

    /// The error code; empty when the answer is not an error.
    pub(crate) fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The status and the error code. The manual must list the pair.
    #[track_caller]
    pub(crate) fn refusal(&self) -> (u16, String) {
        let (status, code) = (self.status, self.code());
        let row = |line: &&str| line.starts_with(&format!("| {status} |"));
        let known = MANUAL
            .lines()
            .filter(row)
            .any(|line| line.contains(&format!("`{code}`")));
        assert!(
            known || status < 300,
            "docs/api.md does not list {status} {code}: {}",
            self.text()
        );
        (status, code)
    }

    /// The body without the request id, for answers that must be equal.
    #[track_caller]
    pub(crate) fn masked(&self) -> String {
        let body = self.json();
        let id = body["requestId"].as_str().expect("a request id").to_owned();
        assert_eq!(self.header("x-request-id"), Some(id.as_str()));
        self.text().replace(&id, "REQUEST")
    }
}
