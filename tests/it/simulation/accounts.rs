//! Steps of an account: sign-up, log-in, guesses, password changes, locks.

use sidegate::service::accounts::Named;
use sidegate::service::{AuthError, Caller, LoginRequest, SignupRequest};
use sidegate::types::login::LoginName;
use sidegate::types::role::Roles;
use sidegate::types::secret::Password;

use super::life::Life;
use super::model::{Account, FailureCounter, Session};

/// The maximum number of accounts of one history.
const ACCOUNTS: usize = 3;

impl Life {
    pub(super) async fn sign_up(&mut self) {
        self.story.push("sign-up");
        let name = format!("user{}", self.roll(ACCOUNTS));
        let password = format!("first password of {name}");
        let request = SignupRequest {
            username: LoginName::username(&name).unwrap(),
            email: None,
            mobile: None,
            name: None,
            password: secret(&password),
        };
        let outcome = self.world.service.signup(request, &Caller::default()).await;
        if self.accounts.iter().any(|account| account.name == name) {
            assert!(
                matches!(outcome, Err(AuthError::LoginTaken(_))),
                "{outcome:?}"
            );
        } else {
            outcome.unwrap();
            self.accounts.push(Account {
                name,
                password,
                enabled: true,
                failures: FailureCounter::default(),
                sessions: Vec::new(),
            });
        }
    }

    pub(super) async fn log_in(&mut self) {
        self.story.push("log-in");
        let (now, at) = (self.world.now(), self.roll(self.accounts.len()));
        let remember = self.roll(4) == 0;
        let account = &mut self.accounts[at];
        let request = typed(&account.name, &account.password, remember);
        let outcome = self
            .world
            .service
            .login(request, &mut Caller::default())
            .await;
        if account.enabled && !account.failures.is_locked(now) {
            let grant = outcome.expect("a valid log-in");
            account.failures = FailureCounter::default();
            account.make_room(now);
            account.sessions.push(Session::begin(&grant, now, remember));
        } else {
            assert!(
                matches!(outcome, Err(AuthError::InvalidCredentials)),
                "{outcome:?}"
            );
            account.failures.fail(now);
        }
    }

    pub(super) async fn guess(&mut self) {
        self.story.push("guess");
        let (now, at) = (self.world.now(), self.roll(self.accounts.len()));
        let account = &mut self.accounts[at];
        let request = typed(&account.name, "not the password", false);
        let outcome = self
            .world
            .service
            .login(request, &mut Caller::default())
            .await;
        assert!(
            matches!(outcome, Err(AuthError::InvalidCredentials)),
            "{outcome:?}"
        );
        account.failures.fail(now);
    }

    pub(super) async fn change_password(&mut self) {
        self.story.push("password");
        let now = self.world.now();
        let Some((at, of)) = self.some_session() else {
            return;
        };
        let guesses = self.roll(4) == 0;
        let account = &mut self.accounts[at];
        let fresh = format!("password number {}", self.dice.next());
        let key = account.sessions[of].key.clone();
        let current = if guesses {
            "not the password"
        } else {
            &account.password
        };
        let (old, new) = (secret(current), secret(&fresh));
        let service = &self.world.service;
        let outcome = service
            .change_password(&key, old, new, &Caller::default())
            .await;
        if account.enabled && account.sessions[of].lives(now) {
            // A wrong current password counts like a wrong log-in, under the same lock.
            if guesses || account.failures.is_locked(now) {
                assert!(
                    matches!(outcome, Err(AuthError::InvalidCredentials)),
                    "{outcome:?}"
                );
                account.failures.fail(now);
                return;
            }
            outcome.unwrap();
            account.failures = FailureCounter::default();
            account.password = fresh;
            account.end_others(Some(of), now);
        } else {
            assert!(
                matches!(outcome, Err(AuthError::AccountClosed)),
                "{outcome:?}"
            );
        }
    }

    pub(super) async fn disable_or_enable(&mut self) {
        self.story.push("disable or enable");
        let (now, at) = (self.world.now(), self.roll(self.accounts.len()));
        let account = &mut self.accounts[at];
        let named = named(account);
        if account.enabled {
            self.world.service.operator_disable(&named).await.unwrap();
            account.end_others(None, now);
        } else {
            self.world.service.operator_enable(&named).await.unwrap();
        }
        account.enabled = !account.enabled;
    }

    pub(super) async fn unlock(&mut self) {
        self.story.push("unlock");
        let at = self.roll(self.accounts.len());
        let account = &mut self.accounts[at];
        self.world
            .service
            .operator_unlock(&named(account))
            .await
            .unwrap();
        account.failures = FailureCounter::default();
    }

    pub(super) async fn change_roles(&mut self) {
        self.story.push("roles");
        let (now, at) = (self.world.now(), self.roll(self.accounts.len()));
        let role = format!("role{}", self.roll(3)).parse().unwrap();
        let account = &mut self.accounts[at];
        let roles = Roles::new([role]).unwrap();
        let changed = self
            .world
            .service
            .operator_set_roles(&named(account), roles)
            .await;
        assert!(changed.unwrap().is_some());
        account
            .sessions
            .iter_mut()
            .for_each(|session| session.make_stale(now));
    }
}

pub(super) fn typed(name: &str, password: &str, remember: bool) -> LoginRequest {
    LoginRequest {
        identifier: name.to_owned(),
        password: secret(password),
        device_name: None,
        remember,
    }
}

pub(super) fn secret(text: &str) -> Password {
    Password::new(text.to_owned()).unwrap()
}

pub(super) fn named(account: &Account) -> Named {
    Named::Login(LoginName::username(&account.name).unwrap())
}
