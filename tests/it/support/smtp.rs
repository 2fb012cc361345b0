//! Which mail server does a test send to? A small one (RFC 5321) that keeps what it accepts and can misbehave.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use data_encoding::BASE64;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::support::certificates::Authority;
use crate::support::wait::until;

/// What the server does with a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Accepts it.
    Accepts,
    /// Never greets. [`MailServer::release`] closes the connection.
    Hangs,
    /// Refuses it for now, after its text was sent.
    RefusesForNow,
    /// Refuses the recipient for good.
    RefusesForGood,
    /// Closes the connection in the middle of the text.
    Drops,
}

/// How connections to the server are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protection {
    None,
    StartTls,
    Tls,
}

/// An accepted mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mail {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) text: String,
    pub(crate) over_tls: bool,
    pub(crate) logged_in: bool,
}

impl Mail {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> String {
        let (head, _) = self.text.split_once("\r\n\r\n").expect("a head");
        let line = head
            .split("\r\n")
            .find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("no {name} in {head}"))
            .to_owned()
    }
}

/// A running server. It stops when it is dropped.
#[derive(Debug)]
pub(crate) struct MailServer {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    _life: JoinSet<()>,
}

#[derive(Debug)]
struct State {
    behaviour: Mutex<Behaviour>,
    protection: Protection,
    login: Option<(String, String)>,
    tls: Option<Arc<ServerConfig>>,
    mails: Mutex<Vec<Mail>>,
    /// Those that were refused for now.
    refused: Mutex<Vec<Mail>>,
    connections: Mutex<usize>,
    released: Notify,
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

impl MailServer {
    /// A server without TLS and without a log-in.
    pub(crate) async fn plain(behaviour: Behaviour) -> Self {
        Self::start(behaviour, Protection::None, None, None).await
    }

    /// A server with a certificate for 127.0.0.1, and a log-in if one is given.
    pub(crate) async fn secure(
        protection: Protection,
        authority: &Authority,
        login: Option<(&str, &str)>,
    ) -> Self {
        let (certificate, key) = authority.signs(&["127.0.0.1"], "mail");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
            )
            .expect("a certificate");
        Self::start(Behaviour::Accepts, protection, Some(config), login).await
    }

    async fn start(
        behaviour: Behaviour,
        protection: Protection,
        tls: Option<ServerConfig>,
        login: Option<(&str, &str)>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            behaviour: Mutex::new(behaviour),
            protection,
            login: login.map(|(name, password)| (name.to_owned(), password.to_owned())),
            tls: tls.map(Arc::new),
            mails: Mutex::default(),
            refused: Mutex::default(),
            connections: Mutex::default(),
            released: Notify::new(),
        });
        let shared = Arc::clone(&state);
        let mut life = JoinSet::new();
        life.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                *shared.connections.lock().expect("the count") += 1;
                // A connection that fails is the matter of its client.
                connections.spawn(serve(Arc::clone(&shared), Box::new(stream)));
            }
        });
        Self {
            address,
            state,
            _life: life,
        }
    }

    pub(crate) fn behaves(&self, behaviour: Behaviour) {
        *self.state.behaviour.lock().expect("the behaviour") = behaviour;
    }

    /// Closes the connections that hang.
    pub(crate) fn release(&self) {
        self.state.released.notify_waiters();
    }

    /// The accepted mails so far.
    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.state.mails.lock().expect("the mails").clone()
    }

    /// The mails that were refused for now.
    pub(crate) fn refused(&self) -> Vec<Mail> {
        self.state.refused.lock().expect("the mails").clone()
    }

    /// The accepted mails, once there are this many.
    pub(crate) async fn accepted(&self, count: usize) -> Vec<Mail> {
        until(|| Some(self.mails()).filter(|mails| mails.len() >= count)).await
    }

    /// Waits until this many connections were made.
    pub(crate) async fn connected(&self, count: usize) {
        until(|| (*self.state.connections.lock().expect("the count") >= count).then_some(())).await;
    }
}

/// One connection. `None` when it ended in the middle.
async fn serve(state: Arc<State>, stream: Box<dyn Wire>) -> Option<()> {
    let behaviour = *state.behaviour.lock().expect("the behaviour");
    if behaviour == Behaviour::Hangs {
        state.released.notified().await;
        return None;
    }
    let mut session = Session {
        stream,
        over_tls: false,
        logged_in: false,
    };
    if state.protection == Protection::Tls {
        session.secure(&state).await?;
    }
    session.say("220 mail.test ready").await?;
    let (mut from, mut to) = (String::new(), Vec::new());
    loop {
        let line = session.line().await?;
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" | "HELO" => session.greet(&state).await?,
            "STARTTLS" if state.protection == Protection::StartTls => {
                session.say("220 go ahead").await?;
                session.secure(&state).await?;
            }
            "AUTH" => session.log_in(&state, rest).await?,
            "MAIL" | "RCPT" if state.login.is_some() && !session.logged_in => {
                session.say("530 authentication required").await?;
            }
            "MAIL" => {
                from = between(rest);
                session.say("250 ok").await?;
            }
            "RCPT" if behaviour == Behaviour::RefusesForGood => {
                session.say("550 no such mailbox").await?;
            }
            "RCPT" => {
                to.push(between(rest));
                session.say("250 ok").await?;
            }
            "DATA" => {
                session.say("354 go ahead").await?;
                if behaviour == Behaviour::Drops {
                    session.line().await?;
                    return None;
                }
                let text = session.text().await?;
                let mail = Mail {
                    from: std::mem::take(&mut from),
                    to: std::mem::take(&mut to),
                    text,
                    over_tls: session.over_tls,
                    logged_in: session.logged_in,
                };
                if behaviour == Behaviour::RefusesForNow {
                    state.refused.lock().expect("the mails").push(mail);
                    session.say("451 try again later").await?;
                    continue;
                }
                state.mails.lock().expect("the mails").push(mail);
                session.say("250 accepted").await?;
            }
            "QUIT" => {
                session.say("221 bye").await?;
                return Some(());
            }
            "RSET" | "NOOP" => session.say("250 ok").await?,
            _ => session.say("500 unknown").await?,
        }
    }
}

struct Session {
    stream: Box<dyn Wire>,
    over_tls: bool,
    logged_in: bool,
}

impl Session {
    async fn say(&mut self, line: &str) -> Option<()> {
        let bytes = format!("{line}\r\n");
        self.stream.write_all(bytes.as_bytes()).await.ok()?;
        self.stream.flush().await.ok()
    }

    /// A line, read byte by byte: after STARTTLS nothing of it may be in a buffer.
    async fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(self.stream.read_u8().await.ok()?);
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).ok()
    }

    /// The text of a mail, without the dots that were added (RFC 5321, 4.5.2).
    async fn text(&mut self) -> Option<String> {
        let mut text = String::new();
        loop {
            let line = self.line().await?;
            if line == "." {
                return Some(text);
            }
            text.push_str(line.strip_prefix('.').unwrap_or(&line));
            text.push_str("\r\n");
        }
    }

    async fn greet(&mut self, state: &State) -> Option<()> {
        self.say("250-mail.test").await?;
        if state.protection == Protection::StartTls && !self.over_tls {
            self.say("250-STARTTLS").await?;
        }
        if state.login.is_some() && self.over_tls {
            self.say("250-AUTH PLAIN LOGIN").await?;
        }
        self.say("250 8BITMIME").await
    }

    async fn secure(&mut self, state: &State) -> Option<()> {
        let config = state.tls.clone()?;
        let (placeholder, _) = tokio::io::duplex(1);
        let plain = std::mem::replace(&mut self.stream, Box::new(placeholder));
        let secured = TlsAcceptor::from(config).accept(plain).await.ok()?;
        self.stream = Box::new(secured);
        self.over_tls = true;
        Some(())
    }

    async fn log_in(&mut self, state: &State, rest: &str) -> Option<()> {
        let (name, password) = if let Some(("PLAIN", initial)) = rest.split_once(' ') {
            let bytes = BASE64.decode(initial.as_bytes()).ok()?;
            let text = String::from_utf8(bytes).ok()?;
            let mut parts = text.split('\0').skip(1).map(str::to_owned);
            (parts.next()?, parts.next()?)
        } else {
            self.say("334 VXNlcm5hbWU6").await?;
            let name = self.line().await?;
            self.say("334 UGFzc3dvcmQ6").await?;
            let password = self.line().await?;
            let text = |line: &str| String::from_utf8(BASE64.decode(line.as_bytes()).ok()?).ok();
            (text(&name)?, text(&password)?)
        };
        if state.login == Some((name, password)) {
            self.logged_in = true;
            return self.say("235 welcome").await;
        }
        self.say("535 wrong").await
    }
}

/// The address between the angle brackets.
fn between(text: &str) -> String {
    let (_, rest) = text.split_once('<').unwrap_or_default();
    let (address, _) = rest.split_once('>').unwrap_or_default();
    address.to_owned()
}
