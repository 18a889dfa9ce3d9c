//! Connections of one listener, no more of them than memory allows.
//!
//! Who asks is not known here, and need not mean well: the health ports answer the whole network. A client that
//! opens connections and says nothing would otherwise fill memory with them, some 17 KiB each, until the kernel
//! ends the process.
//!
//! Always holds: there are at most [`MOST`] connections; when one more comes, the oldest goes, so that nobody
//! who is quick about asking is kept out by those who only hold on. One on which no request comes is closed
//! after a while.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Connections of one listener at the same time. Far more than probes and scrapes need: each is done within
/// milliseconds.
const MOST: usize = 1024;

/// How long a connection may go without a whole request. Longer than the minute between Prometheus' scrapes, so
/// that its connection stays.
const SILENCE: Duration = Duration::from_secs(90);

/// Answers what comes to `listener` with `router` until the other end of `stop` goes; then the listener is
/// closed, and answers that have begun are finished.
pub(crate) async fn serve(
    mut listener: impl Listener<Io = TcpStream, Addr = SocketAddr>,
    router: Router,
    mut stop: watch::Receiver<()>,
) {
    let mut open = Open::default();
    loop {
        let (stream, _client) = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => return,
        };
        open.add(tokio::spawn(answer(stream, router.clone(), stop.clone())).abort_handle());
    }
}

async fn stopped(stop: &mut watch::Receiver<()>) {
    while stop.changed().await.is_ok() {}
}

/// Answers on one connection. How it ends is the client's business.
async fn answer(stream: TcpStream, router: Router, mut stop: watch::Receiver<()>) {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(SILENCE);
    let connection = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    tokio::select! {
        _ended = connection.as_mut() => return,
        () = stopped(&mut stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ended = connection.await;
}

/// Open connections, the oldest first, and some that have ended.
#[derive(Default)]
struct Open(VecDeque<AbortHandle>);

impl Open {
    fn add(&mut self, connection: AbortHandle) {
        if self.0.len() == MOST {
            self.0.retain(|connection| !connection.is_finished());
        }
        if self.0.len() == MOST
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
        self.0.push_back(connection);
    }
}

#[cfg(test)]
mod tests;
