//! What is known of the node: its addresses, its pods, and where this process listens.
//!
//! Node ports answer at the node's addresses. Local traffic policies need to know whether a client is on this node. A
//! socket tells where a connection came from, but not through which interface. Where the interface decides whether the
//! client is a pod of this node, the routing table is asked through which interface the answer leaves.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};

use portolan_core::backend::error_chain;
use portolan_core::plan::LocalDetector;
use portolan_core::{IpFamily, Protocol};
use portolan_netlink::route::{
    AddressMonitor, Family, InterfaceAddress, kind, lookup, read_address, read_link, write_addresses_of,
    write_link,
};
use portolan_netlink::{MessageWriter, NetlinkError, NetlinkSocket, flag};
use tokio::net::UdpSocket;
use tracing::warn;

use crate::address::ListenAddress;
use crate::balancer::Origin;

/// What tells clients on this node from others, and service addresses from endpoints.
#[derive(Debug)]
pub(crate) struct NodeContext {
    state: RwLock<NodeState>,
    socket: Mutex<NetlinkSocket>,
}

/// The part that changes.
#[derive(Debug, Default)]
pub(crate) struct NodeState {
    pub(crate) addresses: HashSet<IpAddr>,
    pub(crate) listening: HashSet<ListenAddress>,
    pub(crate) detector: Option<LocalDetector>,
}

impl NodeContext {
    pub(crate) fn open() -> Result<Self, NetlinkError> {
        let socket = Mutex::new(NetlinkSocket::open(portolan_netlink::Protocol::Route)?);
        Ok(Self { state: RwLock::default(), socket })
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut NodeState)) {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn state(&self) -> RwLockReadGuard<'_, NodeState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this process listens at an endpoint's address. EndpointSlices that are written by hand can name one, and
    /// to connect to it would be to connect to itself without end.
    pub(crate) fn is_listening(&self, endpoint: SocketAddr, protocol: Protocol) -> bool {
        self.state().listening.contains(&ListenAddress { socket: endpoint, protocol })
    }

    /// Whether a client that connected to `destination` is a program on this node. One that leaves its source address to
    /// the kernel has the service address itself.
    pub(crate) fn is_node(&self, client: IpAddr, destination: IpAddr) -> bool {
        client == destination || client.is_loopback() || self.state().addresses.contains(&client)
    }

    /// Where a client is.
    pub(crate) fn origin(&self, client: IpAddr, destination: IpAddr) -> Origin {
        if self.is_node(client, destination) || self.is_pod(client) {
            Origin::Inside
        } else {
            Origin::Outside
        }
    }

    fn is_pod(&self, client: IpAddr) -> bool {
        let detector = self.state().detector.clone();
        let by_interface = |matches: &dyn Fn(&str) -> bool| {
            let name = self.interface_to(client).unwrap_or_else(|error| {
                let err = error_chain(&error);
                warn!(%client, err, "Failed to look up the interface of a client; treating it as external");
                None
            });
            name.is_some_and(|name| matches(&name))
        };
        match detector {
            Some(LocalDetector::Cidr(pods)) => pods.contains(&client),
            Some(LocalDetector::Interface(name)) => by_interface(&|found| found == &*name),
            Some(LocalDetector::InterfacePrefix(prefix)) => {
                by_interface(&|found| found.starts_with(&*prefix))
            }
            // A detector that is not known here finds no pod.
            None | Some(_) => false,
        }
    }

    /// The name of the interface through which packets to `client` leave.
    fn interface_to(&self, client: IpAddr) -> Result<Option<String>, NetlinkError> {
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(route) = lookup(&mut socket, client)? else { return Ok(None) };
        let link = |message: &mut MessageWriter<'_>| write_link(message, route.interface);
        socket.request(kind::GET_LINK, flag::ACK, link, |name, message| {
            *name = read_link(message).and_then(|link| link.name);
        })
    }

    /// Whether packets to this address stay on this node. Without a route they do not.
    pub(crate) fn is_local(&self, address: IpAddr) -> bool {
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        lookup(&mut socket, address).is_ok_and(|route| route.is_some_and(|route| route.is_local))
    }
}

/// The IP family in rtnetlink's terms.
pub(crate) fn rtnetlink_family(family: IpFamily) -> Family {
    match family {
        IpFamily::V4 => Family::V4,
        IpFamily::V6 => Family::V6,
    }
}

/// The node's addresses of one IP family, without those of loopback.
///
/// # Errors
/// The kernel does not list them.
pub(crate) fn list_addresses(family: IpFamily) -> Result<Vec<InterfaceAddress>, NetlinkError> {
    let mut socket = NetlinkSocket::open(portolan_netlink::Protocol::Route)?;
    let question = |message: &mut MessageWriter<'_>| write_addresses_of(message, rtnetlink_family(family));
    let mut all = socket.dump(kind::GET_ADDRESS, question, |found: &mut Vec<_>, message| {
        found.extend(read_address(message));
    })?;
    all.retain(|found| !found.address.is_loopback() && IpFamily::of(found.address) == family);
    all.sort_unstable();
    // Several interfaces may have the same link-local address, and it is a different one on each.
    all.dedup_by_key(|found| found.socket(0));
    Ok(all)
}

/// Opens a socket that gets a message when addresses of one IP family are added or removed. Must be called within a
/// runtime. Tokio has a type for datagram sockets; that it is of UDP does not matter, as no address is used.
///
/// # Errors
/// The socket cannot be opened.
pub(crate) fn watch_addresses(family: IpFamily) -> io::Result<UdpSocket> {
    let monitor = AddressMonitor::open(rtnetlink_family(family)).map_err(io::Error::other)?;
    UdpSocket::from_std(monitor.into_socket().into())
}

/// Returns after at least one change, and takes all messages of changes so far.
///
/// # Errors
/// The socket failed for good.
pub(crate) async fn addresses_changed(socket: &UdpSocket) -> io::Result<()> {
    socket.readable().await?;
    loop {
        // The messages are not read: any of them means that something changed.
        match socket.try_recv(&mut [0; 4096]) {
            Ok(_) => {}
            // Changes that did not fit into the socket's buffer.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
