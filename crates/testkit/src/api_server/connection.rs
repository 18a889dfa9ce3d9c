//! Takes connections in and cuts them off.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{ApiServer, Shared, respond};

/// Bytes on their way in each direction of a connection in memory.
const IN_FLIGHT: usize = 64 << 10;

/// A way to a server that leads past the network.
///
/// Nothing on it waits for the kernel, so that all that happens takes no time on a runtime whose clock is paused,
/// and time passes only while a task waits for it.
#[derive(Debug, Clone)]
pub struct InMemory(Arc<Shared>);

impl ApiServer {
    /// A way to the server that leads past the network, with the same faults.
    pub fn in_memory(&self) -> InMemory {
        InMemory(Arc::clone(&self.shared))
    }
}

impl InMemory {
    /// Sends one request over a connection that is made for it.
    ///
    /// # Errors
    /// The server is down, or the connection is cut before the answer begins.
    pub async fn send<B>(self, request: Request<B>) -> io::Result<Response<Incoming>>
    where
        B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
    {
        let Self(shared) = self;
        if *shared.faults.down.borrow() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (near, far) = tokio::io::duplex(IN_FLIGHT);
        tokio::spawn(async move {
            let mut cuts = shared.faults.cuts.subscribe();
            let _open = Open::new(&shared, *cuts.borrow_and_update());
            talk(far, "", &shared, &mut cuts).await;
        });
        let (mut sender, connection) =
            client::handshake(TokioIo::new(near)).await.map_err(io::Error::other)?;
        // An error of the connection is one of the answer, too.
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(io::Error::other)
    }
}

/// Serves connections until the task is aborted, except while the server is down.
pub(super) async fn accept(listener: TcpListener, address: SocketAddr, shared: Arc<Shared>) {
    let mut down = shared.faults.down.subscribe();
    let mut listener = Some(listener);
    loop {
        let wanted = !*down.borrow_and_update();
        if !wanted {
            listener = None;
        } else if listener.is_none() {
            // The port is still free: no other process binds ports of this range on purpose.
            listener = TcpListener::bind(address).await.ok();
        }
        shared.faults.listening.send_replace(listener.is_some());
        tokio::select! {
            _ = down.changed() => {}
            // A connection that failed before it was ours is the client's to repeat.
            Some(Ok((connection, _))) = next(listener.as_ref()) => {
                tokio::spawn(serve(connection, Arc::clone(&shared)));
            }
        }
    }
}

async fn next(listener: Option<&TcpListener>) -> Option<io::Result<(TcpStream, SocketAddr)>> {
    match listener {
        Some(listener) => Some(listener.accept().await),
        None => std::future::pending().await,
    }
}

/// Serves one connection until either side closes it or it is cut.
async fn serve(connection: TcpStream, shared: Arc<Shared>) {
    let mut cuts = shared.faults.cuts.subscribe();
    let _open = Open::new(&shared, *cuts.borrow_and_update());
    // Small pieces must go out at once, as from a real server.
    let _ = connection.set_nodelay(true);
    let Some(tls) = &shared.tls else { return talk(connection, "", &shared, &mut cuts).await };
    tokio::select! {
        // A client that does not believe us goes away.
        connection = tls.acceptor().accept(connection) => if let Ok(connection) = connection {
            let client = tls.client(connection.get_ref().1.peer_certificates());
            talk(connection, &client, &shared, &mut cuts).await;
        },
        _ = cuts.changed() => {}
    }
}

/// Answers what comes over a connection of this client, encrypted or not.
async fn talk(
    connection: impl AsyncRead + AsyncWrite + Unpin,
    client: &str,
    shared: &Arc<Shared>,
    cuts: &mut watch::Receiver<u64>,
) {
    let _connected = Connected::new(shared, client);
    let service = service_fn(|request| {
        let shared = Arc::clone(shared);
        async move { Ok::<_, Infallible>(respond::respond(shared, request, client).await) }
    });
    let served = http1::Builder::new().serve_connection(TokioIo::new(connection), service);
    tokio::select! {
        // An error here is a client that went away, or a body that broke off on purpose.
        _ = served => {}
        _ = cuts.changed() => {}
    }
}

/// Counts a connection for as long as it is open, by the cuts that it came after.
struct Open<'a> {
    shared: &'a Shared,
    generation: u64,
}

impl<'a> Open<'a> {
    fn new(shared: &'a Shared, generation: u64) -> Self {
        shared.faults.open.send_modify(|open| *open.entry(generation).or_default() += 1);
        Self { shared, generation }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.shared.faults.open.send_modify(|open| {
            if let Some(count) = open.get_mut(&self.generation) {
                *count -= 1;
            }
        });
    }
}

/// Counts a connection for as long as it is open, by the name of its client.
struct Connected<'a> {
    shared: &'a Shared,
    client: &'a str,
}

impl<'a> Connected<'a> {
    fn new(shared: &'a Shared, client: &'a str) -> Self {
        shared.connected.send_modify(|connected| *connected.entry(client.to_owned()).or_default() += 1);
        Self { shared, client }
    }
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.shared.connected.send_modify(|connected| {
            if let Some(count) = connected.get_mut(self.client) {
                *count -= 1;
            }
        });
    }
}
