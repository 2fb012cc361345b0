//! How does a test act as a user? A client at one address, with its own headers and its tokens after a
//! log-in.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::client::TestRequest;
use crate::support::harness::TestApp;

/// A client. Clones share the tokens they had when they were cloned.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    pub(crate) to: SocketAddr,
    /// The access token; empty without a session.
    pub(crate) access: String,
    /// The refresh token; empty without a session.
    pub(crate) refresh_token: String,
    /// The session id; empty without a session.
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

    /// The same client, with another header on every request.
    pub(crate) fn with_header(&self, name: &str, value: &str) -> Self {
        let mut actor = self.clone();
        actor.headers.push((name.to_owned(), value.to_owned()));
        actor
    }

    /// The same client at another app.
    pub(crate) fn at(&self, app: &TestApp) -> Self {
        Self {
            to: app.address,
            ..self.clone()
        }
    }

    /// The same client with another access token.
    pub(crate) fn with_access(&self, token: &str) -> Self {
        Self {
            access: token.to_owned(),
            ..self.clone()
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(TestRequest::new("GET", path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(TestRequest::new("POST", path).json(&body)).await
    }

    /// A POST without a body.
    pub(crate) async fn post_empty(&self, path: &str) -> Answer {
        self.send(TestRequest::new("POST", path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(TestRequest::new("DELETE", path)).await
    }

    /// Sends a request with this actor's headers and access token.
    pub(crate) async fn send(&self, request: TestRequest) -> Answer {
        self.with_credentials(request).send(self.to).await
    }

    /// A request with this actor's headers and access token.
    pub(crate) fn with_credentials(&self, mut request: TestRequest) -> TestRequest {
        for (name, value) in &self.headers {
            request = request.with(name, value);
        }
        if !self.access.is_empty() {
            request = request.with("Authorization", &format!("Bearer {}", self.access));
        }
        request
    }

    /// Sends a log-in and returns its answer.
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

    /// Sends a refresh and returns its answer. The tokens of this client are unchanged.
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
        self.post_empty("/auth/logout").await
    }

    /// The entries of the session list.
    pub(crate) async fn sessions(&self) -> Vec<Value> {
        let answer = self.get("/auth/sessions").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body = answer.json();
        body["sessions"].as_array().expect("a list").clone()
    }
}
