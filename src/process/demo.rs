//! How does `sidegate demo` run without any set-up? One process contains a small application that shows the
//! headers it receives, a temporary store and two users. It prints commands to paste.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use data_encoding::BASE32_NOPAD;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::oneshot;

use crate::config::Config;
use crate::net::tasks;
use crate::process::signals::Signals;
use crate::process::start::error::StartError;
use crate::process::start::surroundings::Surroundings;
use crate::process::start::{self, Hosting};
use crate::service::SignupRequest;
use crate::telemetry::logging;
use crate::types::login::LoginName;
use crate::types::random::Random;
use crate::types::role::{Role, Roles};
use crate::types::secret::Password;

/// The most bytes of a body that the demonstration's application echoes.
const MAX_ECHO: usize = 64 * 1024;

/// Runs the demonstration until it is interrupted. `configure` turns a configuration's text into a
/// configuration.
pub fn run(
    out: impl Write + Send + 'static,
    configure: &dyn Fn(&str) -> Result<Config, String>,
) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let entered = runtime.enter();
    let mut signals = Signals::install().map_err(|error| error.to_string())?;
    drop(entered);
    let surroundings = Surroundings::real();
    let home = Home::make(&*surroundings.random).map_err(|error| error.to_string())?;
    let application = Application::listen().map_err(|error| error.to_string())?;
    let listen = free(8080).map_err(|error| error.to_string())?;
    let admin = free(9180).map_err(|error| error.to_string())?;
    let text = configuration(listen, admin, application.address, &home);
    let config = configure(&text)?;
    let log = logging::start(&config.log).map_err(|error| error.to_string())?;
    let random = Arc::clone(&surroundings.random);
    let never = Arc::new(|| Err("the demonstration has no file to reload".to_owned()));
    let hosting = Hosting {
        log: log.clone(),
        ..Hosting::default()
    };
    let started = start::start_on(config, surroundings, hosting, never);
    let running = started.map_err(|error: StartError| error.to_string())?;
    let (ann, root) = (password(&*random), password(&*random));
    runtime.block_on(async {
        for (name, role, password) in [("ann", "user", &ann), ("root", "admin", &root)] {
            let request = account(name, password).ok_or("the demonstration's names are bad")?;
            let roles = Roles::new(role.parse::<Role>()).map_err(|error| error.to_string())?;
            let added = running.service().operator_add(request, roles).await;
            added.map_err(|error| error.to_string())?;
        }
        Ok::<_, String>(())
    })?;
    let words = explain(listen, admin, &ann, &root);
    let shown = runtime.block_on(async {
        tasks::spawn(application.serve());
        tokio::select! {
            shown = show_words(out, words) => shown?,
            _ = signals.next() => return Ok(()),
        }
        signals.next().await;
        Ok(())
    });
    running.stop_now();
    let ended = running.wait().map_err(|error| error.to_string());
    log.finish();
    shown
        .map_err(|error: io::Error| error.to_string())
        .and(ended)
}

/// Prints on a thread of its own, because a write blocks while the output is not read.
async fn show_words(mut out: impl Write + Send + 'static, words: String) -> io::Result<()> {
    let (told, shown) = oneshot::channel();
    let print = move || {
        let printed = out.write_all(words.as_bytes()).and_then(|()| out.flush());
        // An error means that the demonstration has ended and no longer waits.
        drop(told.send(printed));
    };
    std::thread::Builder::new()
        .name("demo".to_owned())
        .spawn(print)?;
    shown.await.unwrap_or(Ok(()))
}

fn configuration(
    listen: SocketAddr,
    admin: SocketAddr,
    upstream: SocketAddr,
    home: &Home,
) -> String {
    let keys = home.0.join("keys");
    let control = home.0.join("control.sock");
    let keys = keys.display();
    let control = control.display();
    format!(
        r#"
[server]
listen = "{listen}"
control = "{control}"
[admin]
listen = "{admin}"
[upstream]
url = "http://{upstream}"
[store]
url = "memory:"
[tokens]
keys_dir = "{keys}"
[signup]
mode = "open"
[log]
level = "warn"
access = false
[[rule]]
path = "/public/**"
access = "public"
[[rule]]
path = "/admin/**"
access = "user"
roles = ["admin"]
"#
    )
}

fn explain(listen: SocketAddr, admin: SocketAddr, ann: &str, root: &str) -> String {
    format!(
        r#"
Sidegate is running at http://{listen} in front of a small application that
shows the headers it receives. The store is in memory: all is gone when you
stop it (Ctrl-C). Health and numbers: http://{admin}/readyz and /metrics.

  user    password                      role
  ann     {ann}    user
  root    {root}    admin

Paste these into another terminal, in order:

# 1. Without a token: 401
curl -i http://{listen}/orders/7

# 2. Log in, and keep the access token
TOKEN=$(curl -s http://{listen}/auth/login -H 'content-type: application/json' -d '{{"identifier":"ann","password":"{ann}"}}' | sed 's/.*"accessToken":"\([^"]*\)".*/\1/')

# 3. With the token: the application sees who is calling, and not what was forged
curl -i http://{listen}/orders/7 -H "Authorization: Bearer $TOKEN" -H 'X-User-Id: forged' -H 'X_User_Role: admin'

# 4. The sessions of ann; /admin/ is for the role admin only: 403
curl -s http://{listen}/auth/sessions -H "Authorization: Bearer $TOKEN"; echo; curl -i http://{listen}/admin/ -H "Authorization: Bearer $TOKEN"

# 5. Log out: the same token is refused on the very next request
curl -i -X POST http://{listen}/auth/logout -H "Authorization: Bearer $TOKEN"; curl -i http://{listen}/orders/7 -H "Authorization: Bearer $TOKEN"

"#
    )
}

fn account(name: &str, password: &str) -> Option<SignupRequest> {
    Some(SignupRequest {
        username: LoginName::username(name).ok()?,
        email: None,
        mobile: None,
        name: None,
        password: Password::new(password.to_owned()).ok()?,
    })
}

/// 26 letters and digits: 130 random bits.
fn password(random: &dyn Random) -> String {
    let mut text = BASE32_NOPAD.encode(&random.bytes::<17>()).to_lowercase();
    text.truncate(26);
    text
}

/// This port if it is free, otherwise any free port.
fn free(port: u16) -> io::Result<SocketAddr> {
    let bind = |port| TcpListener::bind(("127.0.0.1", port));
    bind(port).or_else(|_| bind(0))?.local_addr()
}

/// A temporary folder, removed when the demonstration ends.
struct Home(PathBuf);

impl Home {
    fn make(random: &dyn Random) -> io::Result<Self> {
        let name = format!("sidegate-demo-{}", password(random));
        let path = std::env::temp_dir().join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // If this fails, files remain in the temporary folder, which does no harm.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// The application of the demonstration.
struct Application {
    listener: TcpListener,
    address: SocketAddr,
}

impl Application {
    fn listen() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    async fn serve(self) {
        let listener = match tokio::net::TcpListener::from_std(self.listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "the demonstration's application cannot listen");
                return;
            }
        };
        while let Ok((stream, _)) = listener.accept().await {
            tasks::spawn(async move {
                let mut builder = http1::Builder::new();
                builder.timer(TokioTimer::new());
                let io = TokioIo::new(stream);
                // A disconnected client is not an error in the demonstration.
                drop(builder.serve_connection(io, service_fn(show)).await);
            });
        }
    }
}

/// Shows what the application received.
async fn show(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let mut page = format!("{} {}\n", head.method, head.uri);
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        // Writing to a string cannot fail.
        let _ = writeln!(page, "{name}: {value}");
    }
    if let Ok(body) = Limited::new(body, MAX_ECHO).collect().await {
        let body = body.to_bytes();
        if !body.is_empty() {
            let _ = writeln!(page, "\n{}", String::from_utf8_lossy(&body));
        }
    }
    let mut answer = Response::new(Full::new(Bytes::from(page)));
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(answer)
}
