//! An open port with its listeners.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::http;
use crate::listen::{self, Families};

/// An open port. Dropping it closes it soon.
#[derive(Debug)]
pub(crate) struct OpenPort {
    stop: watch::Sender<()>,
    /// Each ends when its listener is closed.
    listeners: Vec<JoinHandle<()>>,
}

/// An address cannot be bound.
#[derive(Debug)]
pub(crate) struct OpenError {
    /// The address.
    pub(crate) address: SocketAddr,
    /// The reason.
    pub(crate) source: io::Error,
}

impl OpenPort {
    /// Serves `router` on `port` of all these addresses, or of none.
    ///
    /// # Errors
    /// An address cannot be bound.
    pub(crate) fn open(addresses: &[SocketAddr], port: u16, router: &Router) -> Result<Self, OpenError> {
        let listen = |address: &SocketAddr| {
            let mut address = *address;
            address.set_port(port);
            listen::open(address, Families::One).map_err(|source| OpenError { address, source })
        };
        let listeners = addresses.iter().map(listen).collect::<Result<Vec<_>, _>>()?;
        let (stop, asked) = watch::channel(());
        let serve = |listener| tokio::spawn(http::serve(listener, router.clone(), asked.clone()));
        Ok(Self { stop, listeners: listeners.into_iter().map(serve).collect() })
    }

    /// Closes the port; after this another one can be opened in its place. Responses in progress are completed, then
    /// their connections are closed.
    pub(crate) async fn close(self) {
        drop(self.stop);
        for listener in self.listeners {
            let _ended = listener.await;
        }
    }
}
