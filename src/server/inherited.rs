//! Sockets that whoever started us has opened already and hands over: `LISTEN_FDS`, as systemd does it.
//!
//! Such a socket stays open when this process ends, so connections that come meanwhile wait for the
//! next process instead of being refused. Sockets are taken only if `LISTEN_PID` says that they are
//! meant for this process. `LISTEN_FDNAMES` may call them `public`, `admin` and `redirect`; of sockets
//! with other names, or none, the first is the public one.
//!
//! A TCP socket asks whether its quiet clients are still there, as those of our own do, unless
//! whoever opened it has said how already.

use std::io;

use listenfd::ListenFd;
use socket2::SockRef;

use crate::server::listener::{BoundSocket, KEEPALIVE};

/// The most sockets that are looked at.
const MOST: usize = 8;

/// What was handed over. Closing these does not close the sockets themselves.
#[derive(Debug, Default)]
pub struct Inherited {
    /// The public listener.
    pub public: Option<BoundSocket>,
    /// The admin listener.
    pub admin: Option<std::net::TcpListener>,
    /// The listener that sends clients to https.
    pub redirect: Option<std::net::TcpListener>,
}

impl Inherited {
    /// Takes what was handed over to this process, and the variables that say so. To be called once,
    /// while the process has one thread: the environment is changed.
    ///
    /// # Errors
    /// When something was handed over that cannot be listened on.
    pub fn take() -> Result<Self, BadInheritance> {
        let variable = |name| std::env::var_os(name).and_then(|value| value.into_string().ok());
        let number = |name| variable(name).and_then(|text| text.parse::<u32>().ok());
        if number("LISTEN_PID") != Some(std::process::id()) {
            return Ok(Self::default());
        }
        let count = number("LISTEN_FDS").map_or(0, |count| count as usize);
        if count > MOST {
            return Err(BadInheritance::TooMany(count));
        }
        let names = variable("LISTEN_FDNAMES");
        let roles = roles(names.as_deref(), count)?;
        let mut handed = ListenFd::from_env();
        let mut taken = Self::default();
        for (index, role) in roles.into_iter().enumerate() {
            let bad = |error| BadInheritance::Socket { index, error };
            let socket = socket(&mut handed, index).map_err(bad)?;
            match (role, socket) {
                (Role::Public, socket) => taken.public = Some(socket),
                (Role::Admin, BoundSocket::Tcp(socket)) => taken.admin = Some(socket),
                (Role::Redirect, BoundSocket::Tcp(socket)) => taken.redirect = Some(socket),
                (Role::Admin, BoundSocket::Unix(_)) => return Err(BadInheritance::Unix("admin")),
                (Role::Redirect, BoundSocket::Unix(_)) => {
                    return Err(BadInheritance::Unix("redirect"));
                }
            }
        }
        Ok(taken)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Public,
    Admin,
    Redirect,
}

impl Role {
    /// The role that only this name gives.
    fn named(name: &str) -> Option<Self> {
        match name {
            "admin" => Some(Self::Admin),
            "redirect" => Some(Self::Redirect),
            _ => None,
        }
    }
}

/// What each socket is for.
fn roles(names: Option<&str>, count: usize) -> Result<Vec<Role>, BadInheritance> {
    let names: Vec<&str> = names.map_or_else(Vec::new, |names| names.split(':').collect());
    if !names.is_empty() && names.len() != count {
        return Err(BadInheritance::Names);
    }
    let name = |index: usize| names.get(index).copied().unwrap_or_default();
    let mut others = (0..count).filter(|index| Role::named(name(*index)).is_none());
    let named = (0..count).find(|index| name(*index) == "public");
    let public = named.or_else(|| others.next());
    let mut roles = Vec::with_capacity(count);
    for index in 0..count {
        let role = match Role::named(name(index)) {
            Some(role) => role,
            None if public == Some(index) => Role::Public,
            None => return Err(BadInheritance::Unknown(name(index).to_owned())),
        };
        if roles.contains(&role) {
            return Err(BadInheritance::Twice(name(index).to_owned()));
        }
        roles.push(role);
    }
    Ok(roles)
}

/// A listening socket, TCP or Unix, closed when another program takes this process's place and never
/// waited on.
fn socket(handed: &mut ListenFd, index: usize) -> io::Result<BoundSocket> {
    let nothing = || io::Error::new(io::ErrorKind::NotFound, "nothing was handed over");
    if let Ok(tcp) = handed.take_tcp_listener(index) {
        let tcp = tcp.ok_or_else(nothing)?;
        listens(&SockRef::from(&tcp))?;
        asks_quiet_clients(&SockRef::from(&tcp))?;
        tcp.set_nonblocking(true)?;
        return Ok(BoundSocket::Tcp(tcp));
    }
    let unix = handed.take_unix_listener(index)?.ok_or_else(nothing)?;
    listens(&SockRef::from(&unix))?;
    unix.set_nonblocking(true)?;
    Ok(BoundSocket::Unix(unix))
}

fn listens(socket: &SockRef<'_>) -> io::Result<()> {
    if socket.is_listener()? {
        Ok(())
    } else {
        let text = "the socket does not listen (Accept= must be no)";
        Err(io::Error::new(io::ErrorKind::InvalidInput, text))
    }
}

/// What is accepted inherits it: no call per connection.
fn asks_quiet_clients(socket: &SockRef<'_>) -> io::Result<()> {
    if socket.keepalive()? {
        return Ok(());
    }
    socket.set_tcp_keepalive(&KEEPALIVE)
}

/// Why the sockets that were handed over cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadInheritance {
    /// More than could be meant.
    #[error("LISTEN_FDS hands over {0} sockets; those to listen on are public, admin and redirect")]
    TooMany(usize),
    /// Names and sockets do not match.
    #[error("LISTEN_FDNAMES does not name as many sockets as LISTEN_FDS hands over")]
    Names,
    /// A name without a meaning, beside the public socket.
    #[error("a socket called {0:?} is handed over; the names are public, admin and redirect")]
    Unknown(String),
    /// One name for two sockets.
    #[error("two sockets called {0:?} are handed over; there can be one of each")]
    Twice(String),
    /// All but the public listener are TCP.
    #[error("the {0} socket that is handed over must be a TCP socket")]
    Unix(&'static str),
    /// Nobody says where clients are to be sent.
    #[error(
        "a redirect socket is handed over, but server.redirect_listen is not set; write the socket's \
         address there"
    )]
    RedirectIsOff,
    /// Something else than a listening socket.
    #[error("socket {index} of LISTEN_FDS cannot be listened on: {error}")]
    Socket {
        /// Which, from 0.
        index: usize,
        /// Why not.
        #[source]
        error: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_each_socket_is_for() {
        use Role::{Admin, Public, Redirect};
        let said = |names, count| roles(names, count).unwrap();
        assert_eq!(said(None, 0), []);
        assert_eq!(said(None, 1), [Public]);
        assert_eq!(said(Some("public"), 1), [Public]);
        assert_eq!(said(Some("sidegate.socket"), 1), [Public]);
        assert_eq!(said(Some("admin:public"), 2), [Admin, Public]);
        assert_eq!(said(Some("admin:sidegate.socket"), 2), [Admin, Public]);
        assert_eq!(said(Some("admin"), 1), [Admin]);
        assert_eq!(said(Some("redirect"), 1), [Redirect]);
        let three = said(Some("redirect:sidegate.socket:admin"), 3);
        assert_eq!(three, [Redirect, Public, Admin]);
    }

    #[test]
    fn sockets_without_a_meaning_are_refused() {
        let refused = [
            (None, 2),
            (Some("public"), 2),
            (Some("public:public"), 2),
            (Some("admin:admin"), 2),
            (Some("redirect:redirect"), 2),
            (Some("public:admin:other"), 3),
        ];
        for (names, count) in refused {
            assert!(roles(names, count).is_err(), "{names:?} {count}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_names_are_too_odd(names in ".{0,40}", count in 0..=MOST) {
            let said = roles(Some(&names), count);
            if let Ok(said) = said {
                proptest::prop_assert!(said.len() == count && count <= 3);
            }
        }
    }

    #[test]
    fn the_quiet_clients_of_a_socket_are_asked_as_those_of_our_own_or_as_its_owner_wants() {
        let asked = |wanted: Option<u64>| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let socket = SockRef::from(&listener);
            if let Some(seconds) = wanted {
                let own = socket2::TcpKeepalive::new();
                let own = own.with_time(std::time::Duration::from_secs(seconds));
                socket.set_tcp_keepalive(&own).unwrap();
            }
            asks_quiet_clients(&socket).unwrap();
            let address = listener.local_addr().unwrap();
            let _client = std::net::TcpStream::connect(address).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            let accepted = SockRef::from(&accepted);
            assert!(accepted.keepalive().unwrap());
            accepted.tcp_keepalive_time().unwrap().as_secs()
        };
        assert_eq!(asked(None), 60);
        assert_eq!(asked(Some(300)), 300);
    }
}
