//! Listening and serving, again and again until it works.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{error, info};

use crate::connections;

/// kube-proxy's pause before it tries again to listen.
const RETRY: Duration = Duration::from_secs(5);

/// Connections that may wait to be accepted; Go's default on Linux (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// Serves `router` on `address` for as long as the process lives. `name` is for the log.
///
/// A failure is logged and tried again after five seconds: a port that something else
/// holds for now must not stop packets from being forwarded.
pub async fn serve(name: &'static str, address: SocketAddr, router: Router) -> Infallible {
    loop {
        let problem = serve_or_fail(name, address, router.clone()).await;
        error!(server = name, %address, err = %problem, retry_in = ?RETRY, "cannot serve");
        tokio::time::sleep(RETRY).await;
    }
}

/// Serves `router` on `address` and returns with the reason when that is not possible, for
/// those who want their process to end then (`bindAddressHardFail`). `name` is for the log.
pub async fn serve_or_fail(name: &'static str, address: SocketAddr, router: Router) -> io::Error {
    match listen(address) {
        Ok(listener) => {
            info!(server = name, %address, "listening");
            let (_running, never) = watch::channel(());
            connections::serve(listener, router, never).await;
            io::Error::other("the server ended")
        }
        Err(problem) => problem,
    }
}

/// Opens a listener. An unspecified address of either family stands for all addresses
/// of both, as in Go, where the host has both.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    if address.ip().is_unspecified() {
        let both = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port());
        match open(both, Families::Both) {
            // No IPv6 in this kernel, or none switched on.
            Err(error) if is_without_ipv6(&error) && address.is_ipv4() => {}
            result => return result,
        }
    }
    open(address, Families::One)
}

/// Whom an unspecified IPv6 address stands for.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Families {
    /// IPv6 alone.
    One,
    /// IPv4, too.
    Both,
}

/// Opens a listener on exactly this address.
pub(crate) fn open(address: SocketAddr, families: Families) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Lets a new process listen while connections of the last one are still being closed.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // Said outright, because the default is a sysctl (`net.ipv6.bindv6only`).
        socket.set_only_v6(families == Families::One)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn is_without_ipv6(error: &io::Error) -> bool {
    // EAFNOSUPPORT (asm-generic/errno.h) has no kind of its own.
    const EAFNOSUPPORT: i32 = 97;
    error.raw_os_error() == Some(EAFNOSUPPORT) || error.kind() == io::ErrorKind::AddrNotAvailable
}

#[cfg(test)]
mod tests;
