//! Sockets that whoever started us has opened already and hands over: `LISTEN_FDS`, as systemd does it.
//!
//! Such a socket stays open when this process ends, so connections that come meanwhile wait for the
//! next process instead of being refused. Sockets are taken only if `LISTEN_PID` says that they are
//! meant for this process. `LISTEN_FDNAMES` may call them `public` and `admin`; of sockets with other
//! names, or none, the first is the public one.

use std::io;

use listenfd::ListenFd;
use socket2::SockRef;

use crate::server::listener::BoundSocket;

/// The most sockets that are looked at.
const MOST: usize = 8;

/// What was handed over. Closing these does not close the sockets themselves.
#[derive(Debug, Default)]
pub struct Inherited {
    /// The public listener.
    pub public: Option<BoundSocket>,
    /// The admin listener.
    pub admin: Option<std::net::TcpListener>,
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
                (Role::Admin, BoundSocket::Unix(_)) => return Err(BadInheritance::AdminIsUnix),
            }
        }
        Ok(taken)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Public,
    Admin,
}

/// What each socket is for.
fn roles(names: Option<&str>, count: usize) -> Result<Vec<Role>, BadInheritance> {
    let names: Vec<&str> = names.map_or_else(Vec::new, |names| names.split(':').collect());
    if !names.is_empty() && names.len() != count {
        return Err(BadInheritance::Names);
    }
    let name = |index: usize| names.get(index).copied().unwrap_or_default();
    let is_admin = |index: &usize| name(*index) == "admin";
    let mut others = (0..count).filter(|index| !is_admin(index));
    let named = (0..count).find(|index| name(*index) == "public");
    let public = named.or_else(|| others.next());
    let mut roles = Vec::with_capacity(count);
    for index in 0..count {
        let role = match (public == Some(index), is_admin(&index)) {
            (true, _) => Role::Public,
            (false, true) => Role::Admin,
            (false, false) => return Err(BadInheritance::Unknown(name(index).to_owned())),
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

/// Why the sockets that were handed over cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadInheritance {
    /// More than could be meant.
    #[error("LISTEN_FDS hands over {0} sockets; there are two to listen on, public and admin")]
    TooMany(usize),
    /// Names and sockets do not match.
    #[error("LISTEN_FDNAMES does not name as many sockets as LISTEN_FDS hands over")]
    Names,
    /// A name without a meaning, beside the public socket.
    #[error("a socket called {0:?} is handed over; the names are public and admin")]
    Unknown(String),
    /// One name for two sockets.
    #[error("two sockets called {0:?} are handed over; there can be one of each")]
    Twice(String),
    /// The admin listener is TCP.
    #[error("the admin socket that is handed over must be a TCP socket")]
    AdminIsUnix,
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
        use Role::{Admin, Public};
        let said = |names, count| roles(names, count).unwrap();
        assert_eq!(said(None, 0), []);
        assert_eq!(said(None, 1), [Public]);
        assert_eq!(said(Some("public"), 1), [Public]);
        assert_eq!(said(Some("sidegate.socket"), 1), [Public]);
        assert_eq!(said(Some("admin:public"), 2), [Admin, Public]);
        assert_eq!(said(Some("admin:sidegate.socket"), 2), [Admin, Public]);
        assert_eq!(said(Some("admin"), 1), [Admin]);
    }

    #[test]
    fn sockets_without_a_meaning_are_refused() {
        let refused = [
            (None, 2),
            (Some("public"), 2),
            (Some("public:public"), 2),
            (Some("admin:admin"), 2),
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
                proptest::prop_assert!(said.len() == count && count <= 2);
            }
        }
    }
}
