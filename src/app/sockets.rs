//! Every socket that is listened on, bound before anything is promised. Those that were handed over
//! take the place of the configured ones.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::net::UnixListener;

use crate::app::build::Shared;
use crate::app::error::StartError;
use crate::control::listener as control_listener;
use crate::server::accept;
use crate::server::inherited::{BadInheritance, Inherited};
use crate::server::listener::Bound;

/// Bound sockets.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) public: Bound,
    pub(super) redirect: Option<std::net::TcpListener>,
    pub(super) admin: Option<std::net::TcpListener>,
    pub(super) control: Option<(UnixListener, PathBuf)>,
}

impl Sockets {
    /// Binds them all, or says which one cannot be had.
    pub(super) async fn bind(shared: &Shared, inherited: Inherited) -> Result<Self, StartError> {
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
            // The key is what says that there is https to send clients to.
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

    pub(super) fn redirect_address(&self) -> Option<SocketAddr> {
        self.redirect
            .as_ref()
            .and_then(|socket| socket.local_addr().ok())
    }

    pub(super) fn admin_address(&self) -> Option<SocketAddr> {
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
