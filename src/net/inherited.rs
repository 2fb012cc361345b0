//! Which listening sockets does the process inherit (`LISTEN_FDS`, as systemd passes them)?
//!
//! An inherited socket stays open when this process ends, so new connections wait for the next process instead
//! of being refused. Sockets are used only if `LISTEN_PID` is the id of this process. `LISTEN_FDNAMES` may name
//! them `public`, `admin` and `redirect`; of sockets with other names, or none, the first is the public one.
//!
//! TCP keep-alive is set on an inherited socket as on one that this process binds, unless it is on already.

use std::io;

use listenfd::ListenFd;
use socket2::SockRef;

use crate::net::listener::{BoundSocket, KEEPALIVE};

/// The most sockets that may be inherited.
const MOST: usize = 8;

/// The inherited sockets. Closing these does not close the sockets of the service manager.
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
    /// Takes the sockets, and removes the environment variables that announce them. Must be called once, while
    /// the process has one thread: the environment is changed.
    ///
    /// # Errors
    /// When an inherited descriptor is not a listening socket, or has no known role.
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
    /// The role that needs this name.
    fn named(name: &str) -> Option<Self> {
        match name {
            "admin" => Some(Self::Admin),
            "redirect" => Some(Self::Redirect),
            _ => None,
        }
    }
}

/// The role of each socket.
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

/// A listening socket, TCP or Unix, closed on exec and non-blocking.
fn socket(handed: &mut ListenFd, index: usize) -> io::Result<BoundSocket> {
    let nothing = || io::Error::new(io::ErrorKind::NotFound, "nothing was handed over");
    if let Ok(tcp) = handed.take_tcp_listener(index) {
        let tcp = tcp.ok_or_else(nothing)?;
        require_listening(&SockRef::from(&tcp))?;
        set_keepalive(&SockRef::from(&tcp))?;
        tcp.set_nonblocking(true)?;
        return Ok(BoundSocket::Tcp(tcp));
    }
    let unix = handed.take_unix_listener(index)?.ok_or_else(nothing)?;
    require_listening(&SockRef::from(&unix))?;
    unix.set_nonblocking(true)?;
    Ok(BoundSocket::Unix(unix))
}

fn require_listening(socket: &SockRef<'_>) -> io::Result<()> {
    if socket.is_listener()? {
        Ok(())
    } else {
        let text = "the socket does not listen (Accept= must be no)";
        Err(io::Error::new(io::ErrorKind::InvalidInput, text))
    }
}

/// Accepted connections inherit it: no system call per connection.
fn set_keepalive(socket: &SockRef<'_>) -> io::Result<()> {
    if socket.keepalive()? {
        return Ok(());
    }
    socket.set_tcp_keepalive(&KEEPALIVE)
}

/// Why inherited sockets cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadInheritance {
    /// Too many sockets.
    #[error("LISTEN_FDS hands over {0} sockets; those to listen on are public, admin and redirect")]
    TooMany(usize),
    /// Not one name per socket.
    #[error("LISTEN_FDNAMES does not name as many sockets as LISTEN_FDS hands over")]
    Names,
    /// An unknown name, in addition to the public socket.
    #[error("a socket called {0:?} is handed over; the names are public, admin and redirect")]
    Unknown(String),
    /// One name for two sockets.
    #[error("two sockets called {0:?} are handed over; there can be one of each")]
    Twice(String),
    /// All but the public listener are TCP.
    #[error("the {0} socket that is handed over must be a TCP socket")]
    Unix(&'static str),
    /// The redirect listener is not configured.
    #[error(
        "a redirect socket is handed over, but server.redirect_listen is not set; write the socket's \
         address there"
    )]
    RedirectIsOff,
    /// Not a listening socket.
    #[error("socket {index} of LISTEN_FDS cannot be listened on: {error}")]
    Socket {
        /// Its index, from 0.
        index: usize,
        /// The reason.
        #[source]
        error: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_socket_is_matched_by_its_name() {
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
    fn sockets_with_an_unknown_name_are_refused() {
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
        fn any_names_parse_without_a_panic(names in ".{0,40}", count in 0..=MOST) {
            let said = roles(Some(&names), count);
            if let Ok(said) = said {
                proptest::prop_assert!(said.len() == count && count <= 3);
            }
        }
    }

    #[test]
    fn inherited_sockets_get_keepalive_unless_their_owner_set_it() {
        let asked = |wanted: Option<u64>| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let socket = SockRef::from(&listener);
            if let Some(seconds) = wanted {
                let own = socket2::TcpKeepalive::new();
                let own = own.with_time(std::time::Duration::from_secs(seconds));
                socket.set_tcp_keepalive(&own).unwrap();
            }
            set_keepalive(&socket).unwrap();
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
