//! Takes connections in and cuts them off.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::{Shared, respond};

/// Serves connections until the task is aborted.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        // A connection that failed before it was ours is the client's to repeat.
        if let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(serve(connection, Arc::clone(&shared)));
        }
    }
}

/// Serves one connection until either side closes it or it is cut.
async fn serve(connection: TcpStream, shared: Arc<Shared>) {
    let mut cuts = shared.faults.cuts.subscribe();
    // Small pieces must go out at once, as from a real server.
    let _ = connection.set_nodelay(true);
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(respond::respond(shared, request).await) }
    });
    let served = http1::Builder::new().serve_connection(TokioIo::new(connection), service);
    tokio::select! {
        // An error here is a client that went away, or a body that broke off on purpose.
        _ = served => {}
        _ = cuts.changed() => {}
    }
}
