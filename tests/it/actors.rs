//! Who acts in a test: a client at one address with its own headers, and tokens once it has them.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::client::{Answer, Ask};
use crate::harness::TestApp;

/// A client. Clones are the same person with the same tokens.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    pub(crate) to: SocketAddr,
    /// The access token; empty for somebody without.
    pub(crate) access: String,
    /// The refresh token; empty for somebody without.
    pub(crate) refresh_token: String,
    /// The session's id; empty for somebody without.
    pub(crate) session: String,
    headers: Vec<(String, String)>,
}

impl Actor {
    pub(crate) fn anonymous(to: SocketAddr) -> Self {
        Self {
            to,
            access: String::new(),
            refresh_token: String::new(),
            session: String::new(),
            headers: Vec::new(),
        }
    }

    /// The same, sending one header more with everything.
    pub(crate) fn with_header(&self, name: &str, value: &str) -> Self {
        let mut actor = self.clone();
        actor.headers.push((name.to_owned(), value.to_owned()));
        actor
    }

    /// The same at another app.
    pub(crate) fn at(&self, app: &TestApp) -> Self {
        Self {
            to: app.address,
            ..self.clone()
        }
    }

    /// The same with another access token.
    pub(crate) fn with_access(&self, token: &str) -> Self {
        Self {
            access: token.to_owned(),
            ..self.clone()
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Ask::new("GET", path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Ask::new("POST", path).json(&body)).await
    }

    /// A POST without a body.
    pub(crate) async fn poke(&self, path: &str) -> Answer {
        self.send(Ask::new("POST", path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Ask::new("DELETE", path)).await
    }

    /// Sends a request with this actor's headers and access token.
    pub(crate) async fn send(&self, ask: Ask) -> Answer {
        self.dress(ask).send(self.to).await
    }

    /// A request with this actor's headers and access token.
    pub(crate) fn dress(&self, mut ask: Ask) -> Ask {
        for (name, value) in &self.headers {
            ask = ask.with(name, value);
        }
        if !self.access.is_empty() {
            ask = ask.with("Authorization", &format!("Bearer {}", self.access));
        }
        ask
    }

    /// Tries to log in, whatever comes of it.
    pub(crate) async fn try_login(&self, name: &str, password: &str) -> Answer {
        let body = json!({"identifier": name, "password": password});
        self.with_access("").post("/auth/login", body).await
    }

    /// Logs in and keeps the tokens.
    pub(crate) async fn login(&self, name: &str, password: &str) -> Self {
        let answer = self.try_login(name, password).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.holding(&answer)
    }

    /// This client with the tokens of an answer.
    pub(crate) fn holding(&self, answer: &Answer) -> Self {
        let body = answer.json();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            access: text(&body["accessToken"]),
            refresh_token: text(&body["refreshToken"]),
            session: text(&body["session"]["id"]),
            ..self.clone()
        }
    }

    /// Shows the refresh token, whatever comes of it. Keeps what it has.
    pub(crate) async fn try_refresh(&self) -> Answer {
        let body = json!({"refreshToken": self.refresh_token});
        self.with_access("").post("/auth/refresh", body).await
    }

    /// Refreshes and keeps the new tokens.
    pub(crate) async fn refresh(&mut self) -> Answer {
        let answer = self.try_refresh().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        *self = self.holding(&answer);
        answer
    }

    pub(crate) async fn logout(&self) -> Answer {
        self.poke("/auth/logout").await
    }

    /// The entries of the session list.
    pub(crate) async fn sessions(&self) -> Vec<Value> {
        let answer = self.get("/auth/sessions").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body = answer.json();
        body["sessions"].as_array().expect("a list").clone()
    }
}
