//! Takes connections in and cuts them off.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{Shared, respond};

/// Serves connections until the task is aborted, except while the server is down.
pub(super) async fn accept(listener: TcpListener, address: SocketAddr, shared: Arc<Shared>) {
    let mut down = shared.faults.down.subscribe();
    let mut listener = Some(listener);
    loop {
        let wanted = !*down.borrow_and_update();
        if !wanted {
            listener = None;
        } else if listener.is_none() {
            // The port is ours still: nobody else binds ports of this range on purpose.
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
