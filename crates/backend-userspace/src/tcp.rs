//! TCP connections: accepted, given an endpoint, relayed until both sides have ended.
//!
//! `pump` and `pipe` relay between any two connections; they know nothing of listeners and Services.
//!
//! A client learns the outcome: when no endpoint accepts its connection, or its endpoint resets it, the client's
//! connection is reset too, never closed as if it had ended normally.

mod pipe;
mod pump;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portolan_core::{IpFamily, Protocol};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::balancer::endpoints_for;
use crate::limits::{Kind, Limit, Permit};
use crate::listener::{ListenerContext, keep_alive};
use crate::ttl::Ttl;

pub(crate) use pipe::Pipes;

/// How long each endpoint that is tried may take to answer. The first is given little, so that one that vanished costs a
/// client a quarter of a second.
const CONNECT_TIMEOUTS: [Duration; 4] =
    [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// How long to wait after a connection could not be accepted; it stays in the queue.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until stopped, and relays each in its own task, which continues afterwards. The permit is
/// dropped last, after the socket.
pub(crate) async fn serve(
    _permit: Permit,
    listener: Arc<TcpListener>,
    context: Arc<ListenerContext>,
    mut stop: oneshot::Receiver<()>,
) {
    loop {
        let accepted = tokio::select! {
            _ = &mut stop => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((client, address)) => start_session(client, address, &context),
            // The client closed the connection before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                debug!(servicePort = %context.balancer.name, err = %error, "Failed to accept connection");
                if let Some(limit) = Limit::of(&error) {
                    context.relay.limits.log(limit);
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn start_session(client: TcpStream, address: SocketAddr, context: &Arc<ListenerContext>) {
    let Some(permit) = context.admit(Kind::Tcp, address.ip(), || false) else { return reset(&client) };
    let context = Arc::clone(context);
    tokio::spawn(async move {
        let _permit = permit;
        // The packet filter is for new clients only. There may be none.
        let _ = SockRef::from(&client).detach_filter();
        let endpoint = match connect(&client, address, &context).await {
            Ok(endpoint) => endpoint,
            Err(error) => {
                context.relay.limits.count_failed(&error);
                return reset(&client);
            }
        };
        if pump::relay(&client, &endpoint, &context.relay.pipes).await.is_err() {
            reset(&client);
            reset(&endpoint);
        }
    });
}

/// Connects to the next endpoint of the service port, or to others when it fails.
async fn connect(
    client: &TcpStream,
    address: SocketAddr,
    context: &ListenerContext,
) -> io::Result<TcpStream> {
    let client_ip = address.ip();
    let ttl = Ttl::of_connection(&SockRef::from(client), IpFamily::of(client_ip)).decremented()?;
    let (balancer, kind, origin) = (&context.balancer, context.kind, context.origin(client_ip));
    let count = endpoints_for(&balancer.state().port, kind, origin).len();
    let (mut failed, mut refused) = (Vec::new(), 0);
    for max_wait in CONNECT_TIMEOUTS {
        if failed.len() >= count {
            failed.clear();
        }
        let Some(endpoint) = balancer.choose(client_ip, kind, origin, &failed, Instant::now()) else { break };
        let err = match timeout(max_wait, connect_to(endpoint, ttl, context)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) if Limit::of(&error).is_some() => return Err(error),
            Ok(Err(error)) => {
                refused += 1;
                error.to_string()
            }
            Err(elapsed) => elapsed.to_string(),
        };
        debug!(servicePort = %balancer.name, client = %address, %endpoint, err, "Failed to connect to endpoint");
        if refused >= count {
            break;
        }
        failed.push(endpoint);
    }
    Err(io::ErrorKind::HostUnreachable.into())
}

async fn connect_to(endpoint: SocketAddr, ttl: Ttl, context: &ListenerContext) -> io::Result<TcpStream> {
    if context.node.is_listening(endpoint, Protocol::Tcp) {
        return Err(io::Error::other("the endpoint is an address of a Service"));
    }
    let socket = if endpoint.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    ttl.set(&SockRef::from(&socket), IpFamily::of(endpoint.ip()))?;
    socket.set_nodelay(true)?;
    keep_alive(&SockRef::from(&socket))?;
    socket.connect(endpoint).await
}

/// Has the connection reset when it is closed.
fn reset(stream: &TcpStream) {
    // It may be gone already.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
