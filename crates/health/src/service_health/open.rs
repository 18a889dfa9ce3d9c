//! One open port: its listeners, and how they are closed again.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::connections;
use crate::listen::{self, Families};

/// A port that is listened on and answered. Dropping it closes it soon.
#[derive(Debug)]
pub(crate) struct OpenPort {
    stop: watch::Sender<()>,
    /// Ends when the last listener is gone.
    listening: mpsc::Receiver<Infallible>,
}

/// A listener that shows when it is closed.
struct Watched {
    listener: TcpListener,
    _listening: mpsc::Sender<Infallible>,
}

/// An address could not be listened on.
#[derive(Debug)]
pub(crate) struct OpenError {
    /// The address.
    pub(crate) address: SocketAddr,
    /// Why not.
    pub(crate) source: io::Error,
}

impl OpenPort {
    /// Listens on `port` at each of these addresses, or at none of them, and answers with `router`.
    ///
    /// # Errors
    /// One address could not be listened on.
    pub(crate) fn open(addresses: &[SocketAddr], port: u16, router: &Router) -> Result<Self, OpenError> {
        let listen = |address: &SocketAddr| {
            let mut address = *address;
            address.set_port(port);
            listen::open(address, Families::One).map_err(|source| OpenError { address, source })
        };
        let listeners = addresses.iter().map(listen).collect::<Result<Vec<_>, _>>()?;
        let (stop, asked) = watch::channel(());
        let (held, listening) = mpsc::channel(1);
        for listener in listeners {
            let listener = Watched { listener, _listening: held.clone() };
            tokio::spawn(connections::serve(listener, router.clone(), asked.clone()));
        }
        Ok(Self { stop, listening })
    }

    /// Closes the port; once this returns, another may be opened in its place. Answers that
    /// have begun are finished, and then their connections closed.
    pub(crate) async fn close(mut self) {
        drop(self.stop);
        while self.listening.recv().await.is_some() {}
    }
}

impl Listener for Watched {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        Listener::accept(&mut self.listener).await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
