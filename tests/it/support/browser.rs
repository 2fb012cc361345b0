//! How does a test act as a browser that keeps cookies?

use crate::support::actors::Actor;
use crate::support::answer::Answer;
use crate::support::harness::{PASSWORD, TestApp};

pub(crate) const COOKIES: &str = "[[mount]]\nprefix = \"/auth\"\ndelivery = \"cookies\"\n";
pub(crate) const HTTPS: &str = "[server]\npublic_url = \"https://app.example.org\"\n";

/// Ann's browser after her log-in: the cookies it received, and those it sends.
#[derive(Debug)]
pub(crate) struct Browser {
    pub(crate) received: Answer,
    pub(crate) cookies: String,
    pub(crate) access: String,
    pub(crate) actor: Actor,
}

impl Browser {
    pub(crate) async fn log_in(app: &TestApp) -> Self {
        let received = app.anon().try_login("ann", PASSWORD).await;
        assert_eq!(received.status, 200, "{}", received.text());
        let lines = received.all("set-cookie");
        let pairs: Vec<&str> = lines
            .iter()
            .filter_map(|line| line.split(';').next())
            .collect();
        let cookies = pairs.join("; ");
        let access = pairs
            .iter()
            .find_map(|pair| pair.split_once("sidegate_access="));
        let access = access
            .map(|(_, token)| token.to_owned())
            .unwrap_or_default();
        let actor = app.anon().with_header("Cookie", &cookies);
        Self {
            received,
            cookies,
            access,
            actor,
        }
    }

    pub(crate) fn session(&self) -> String {
        let body = self.received.json();
        body["session"]["id"].as_str().expect("an id").to_owned()
    }
}

/// Sidegate with the account `ann`.
pub(crate) async fn app(extra: &str) -> TestApp {
    let app = TestApp::with(extra).await;
    app.account("ann", &["user"]).await;
    app
}
