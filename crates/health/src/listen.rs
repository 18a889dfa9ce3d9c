//! Binds server addresses, with retries.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tracing::{error, info};

use crate::http;

/// kube-proxy's pause before it tries again to bind.
const RETRY: Duration = Duration::from_secs(5);

/// Connections that may wait to be accepted; Go's default on Linux (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// Serves `router` on `address` for as long as the process lives. `name` is for the log.
///
/// A failure is logged and retried: a port in use must not stop packets from being forwarded.
pub async fn serve(name: &'static str, address: SocketAddr, router: Router) -> Infallible {
    loop {
        let problem = serve_or_fail(name, address, router.clone()).await;
        error!(server = name, %address, err = %problem, retryAfter = ?RETRY, "Failed to start HTTP server");
        tokio::time::sleep(RETRY).await;
    }
}

/// Serves `router` on `address` and returns the error if that fails, for `bindAddressHardFail`. `name` is for the log.
pub async fn serve_or_fail(name: &'static str, address: SocketAddr, router: Router) -> io::Error {
    let listener = match listen(address) {
        Ok(listener) => listener,
        Err(problem) => return problem,
    };
    info!(server = name, %address, "Started HTTP server");
    match http::serve(listener, router).await {}
}

/// Opens a listener. An unspecified address of either family means all addresses of both, as in Go, if the host has
/// both.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    if address.ip().is_unspecified() {
        let both = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port());
        match open(both, Families::Both) {
            // The kernel has no IPv6, or it is disabled.
            Err(error) if is_without_ipv6(&error) && address.is_ipv4() => {}
            result => return result,
        }
    }
    open(address, Families::One)
}

/// The families of an unspecified IPv6 address.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Families {
    /// IPv6 only.
    One,
    /// IPv6 and IPv4.
    Both,
}

/// Opens a listener on exactly this address.
pub(crate) fn open(address: SocketAddr, families: Families) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A new process can listen while connections of the previous one are being closed.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // The default is a sysctl (`net.ipv6.bindv6only`).
        socket.set_only_v6(families == Families::One)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn is_without_ipv6(error: &io::Error) -> bool {
    // `ErrorKind` has no EAFNOSUPPORT.
    error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32)
        || error.kind() == io::ErrorKind::AddrNotAvailable
}

#[cfg(test)]
mod tests;
