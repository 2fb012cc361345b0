//! Which sockets does the process listen on? All are bound before the start is reported.
//!
//! Inherited sockets replace the configured ones.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::net::UnixListener;

use crate::control::listener as control_listener;
use crate::net::accept;
use crate::net::inherited::{BadInheritance, Inherited};
use crate::net::listener::Bound;
use crate::process::start::error::StartError;
use crate::process::start::shared::Shared;

/// Bound sockets.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) public: Bound,
    pub(crate) redirect: Option<std::net::TcpListener>,
    pub(crate) admin: Option<std::net::TcpListener>,
    pub(crate) control: Option<(UnixListener, PathBuf)>,
}

impl Sockets {
    /// Binds all sockets. The error names the one that cannot be bound.
    pub(crate) async fn bind(shared: &Shared, inherited: Inherited) -> Result<Self, StartError> {
        let settings = &shared.config.server;
        let cannot = |error| StartError::Listen {
            address: settings.listen.to_string(),
            key: "server.listen",
            error,
        };
        let public = match inherited.public {
            Some(socket) => {
                tracing::info!("the public socket was handed over; server.listen is not used");
                Bound::inherited(socket, settings.threads)
            }
            None => Bound::bind(&settings.listen, settings.threads),
        };
        let public = public.map_err(cannot)?;
        let redirect = match (inherited.redirect, settings.redirect_listen) {
            (Some(socket), Some(_)) => {
                tracing::info!(
                    "the redirect socket was handed over; server.redirect_listen is not used"
                );
                Some(socket)
            }
            // Only the configuration key states that there is an https site to redirect to.
            (Some(_), None) => return Err(BadInheritance::RedirectIsOff.into()),
            (None, address) => address
                .map(|address| bind(address, "server.redirect_listen"))
                .transpose()?,
        };
        let admin = match inherited.admin {
            Some(socket) => {
                tracing::info!("the admin socket was handed over; admin.listen is not used");
                Some(socket)
            }
            None => settings
                .admin
                .map(|address| bind(address, "admin.listen"))
                .transpose()?,
        };
        let control = match &settings.control {
            Some(path) => {
                let random = &*shared.surroundings.random;
                Some((control_listener::bind(path, random).await?, path.clone()))
            }
            None => None,
        };
        Ok(Self {
            public,
            redirect,
            admin,
            control,
        })
    }

    pub(crate) fn redirect_address(&self) -> Option<SocketAddr> {
        self.redirect
            .as_ref()
            .and_then(|socket| socket.local_addr().ok())
    }

    pub(crate) fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
            .as_ref()
            .and_then(|socket| socket.local_addr().ok())
    }
}

fn bind(address: SocketAddr, key: &'static str) -> Result<std::net::TcpListener, StartError> {
    accept::bind(address).map_err(|error: io::Error| StartError::Listen {
        address: address.to_string(),
        key,
        error,
    })
}
