//! Connections: accepted, given an endpoint, relayed until both sides are done.
//!
//! A client learns what becomes of its connection: when no endpoint takes it, or its endpoint resets it, the
//! client's is reset too, never closed as if all had been said.

mod carrier;
mod pipe;
mod pump;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portolan_core::IpFamily;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::hops::Hops;
use crate::limits::{Limit, Unreached};
use crate::listen::{Transport, keep_alive};
use crate::site::Site;

pub(crate) use pipe::Pipes;

/// How long endpoints are given to answer, one after the other: the first little, so that one that vanished
/// costs a client a quarter of a second.
const PATIENCE: [Duration; 4] =
    [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// How long to wait when the process has no descriptors left.
const BREATH: Duration = Duration::from_millis(100);

/// Accepts connections until told to stop, and relays each in a task of its own. Those go on afterwards.
pub(crate) async fn serve(listener: Arc<TcpListener>, site: Arc<Site>, mut stop: oneshot::Receiver<()>) {
    loop {
        let accepted = tokio::select! {
            _ = &mut stop => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((client, address)) => take(client, address, &site),
            // The connection was gone before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                site.relay.limits.not_accepted(site.balancer.name(), &error);
                sleep(BREATH).await;
            }
        }
    }
}

fn take(client: TcpStream, address: SocketAddr, site: &Arc<Site>) {
    // The packet filter said so before; but what waited to be accepted came under an older one.
    if !site.admits(address.ip()) {
        site.relay.limits.counters().count_turned_away();
        return reset(&client);
    }
    let (limits, share) = (&site.relay.limits, site.balancer.share());
    let session = match limits.admit(Transport::Tcp, share, address.ip()) {
        Ok(session) => session,
        Err(full) => {
            limits.refuse(full, share, address.ip());
            return reset(&client);
        }
    };
    let site = Arc::clone(site);
    tokio::spawn(async move {
        let _session = session;
        // The filter is there for new clients only; this one is in. There may be none.
        let _ = SockRef::from(&client).detach_filter();
        let hops = Hops::of_connection(&SockRef::from(&client), IpFamily::of(address.ip()));
        let Some(endpoint) = connect(address, hops, &site).await else {
            return reset(&client);
        };
        if pump::both_ways(&client, &endpoint, &site.relay.pipes).await.is_err() {
            reset(&client);
            reset(&endpoint);
        }
    });
}

/// A connection to the endpoint whose turn it is, or to the next ones.
async fn connect(client: SocketAddr, hops: Hops, site: &Site) -> Option<TcpStream> {
    let found = match hops.after_one() {
        Some(left) => try_endpoints(client, left, site).await,
        None => Err(Unreached::NoEndpoint),
    };
    found.map_err(|why| site.relay.limits.give_up(why)).ok()
}

async fn try_endpoints(client: SocketAddr, hops: Hops, site: &Site) -> Result<TcpStream, Unreached> {
    let origin = site.origin(client.ip());
    let count = site.balancer.count(site.via, origin);
    let (mut failed, mut refused) = (Vec::new(), 0);
    for patience in PATIENCE {
        if failed.len() >= count {
            failed.clear();
        }
        let endpoint = site.balancer.choose(client.ip(), site.via, origin, &failed, Instant::now());
        let endpoint = endpoint.ok_or(Unreached::NoEndpoint)?;
        match timeout(patience, reach(endpoint, hops, site)).await {
            Ok(Ok(stream)) => return prepared(stream).ok_or(Unreached::NoEndpoint),
            Ok(Err(error)) => {
                if let Some(limit) = Limit::of_descriptors(&error) {
                    return Err(Unreached::NoDescriptor(limit));
                }
                debug!("{} did not get {client} to {endpoint}: {error}", site.balancer.name());
                refused += 1;
            }
            Err(_) => debug!("{} did not get {client} to {endpoint} in time", site.balancer.name()),
        }
        if refused >= count {
            break;
        }
        failed.push(endpoint);
    }
    Err(Unreached::NoEndpoint)
}

async fn reach(endpoint: SocketAddr, hops: Hops, site: &Site) -> io::Result<TcpStream> {
    if site.surroundings.is_served(endpoint, Transport::Tcp) {
        return Err(io::Error::other("the endpoint is an address of a service"));
    }
    let socket = if endpoint.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    hops.limit(&SockRef::from(&socket), IpFamily::of(endpoint.ip()))?;
    socket.connect(endpoint).await
}

fn prepared(stream: TcpStream) -> Option<TcpStream> {
    let socket = SockRef::from(&stream);
    // Either fails only on a connection that is gone already.
    (stream.set_nodelay(true).is_ok() && keep_alive(&socket).is_ok()).then_some(stream)
}

/// Has the connection reset when it is closed, so that the other side does not take it for finished.
fn reset(stream: &TcpStream) {
    // A connection that is gone needs none.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
