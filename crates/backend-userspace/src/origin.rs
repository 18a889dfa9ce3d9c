//! Whether a client is on this node, which Local policies ask.
//!
//! A socket tells where a connection came from, but not by which interface. Where that decides whether the
//! client is one of this node's pods, the routing table is asked by which interface the answer leaves: pods
//! have addresses of their own, so that is the interface they are behind.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError, RwLock};

use portolan_core::backend::error_chain;
use portolan_core::plan::LocalDetector;
use portolan_netlink::{MessageWriter, NetlinkError, NetlinkSocket, Protocol, flag};
use tracing::warn;

use crate::balancer::Origin;
use crate::listen::{Place, Transport};
use crate::rtnetlink::{self, kind};

/// What tells the node's own clients from others.
#[derive(Debug)]
pub(crate) struct Surroundings {
    addresses: RwLock<HashSet<IpAddr>>,
    served: RwLock<HashSet<Place>>,
    detector: RwLock<Option<LocalDetector>>,
    lookups: Mutex<NetlinkSocket>,
}

impl Surroundings {
    /// Nothing is known yet, so everybody is outside.
    pub(crate) fn open() -> Result<Self, NetlinkError> {
        let lookups = Mutex::new(NetlinkSocket::open(Protocol::Route)?);
        Ok(Self {
            addresses: RwLock::default(),
            served: RwLock::default(),
            detector: RwLock::default(),
            lookups,
        })
    }

    /// These are the node's addresses now.
    pub(crate) fn set_addresses(&self, addresses: HashSet<IpAddr>) {
        *self.addresses.write().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// This tells pods now.
    pub(crate) fn set_detector(&self, detector: Option<LocalDetector>) {
        *self.detector.write().unwrap_or_else(PoisonError::into_inner) = detector;
    }

    /// We listen at this place from now on, or no longer.
    pub(crate) fn set_served(&self, place: Place, is_served: bool) {
        let mut served = self.served.write().unwrap_or_else(PoisonError::into_inner);
        if is_served {
            served.insert(place)
        } else {
            served.remove(&place)
        };
    }

    /// Whether an endpoint is a place where we listen ourselves. Whoever writes slices by hand can name one;
    /// to follow that would be to connect to oneself without end.
    pub(crate) fn is_served(&self, address: SocketAddr, transport: Transport) -> bool {
        let place = Place { address, transport };
        self.served.read().unwrap_or_else(PoisonError::into_inner).contains(&place)
    }

    /// Whether who sends from `client` to `asked` is a program on this node. One that asks a service
    /// address and leaves its own to the kernel has that very address.
    pub(crate) fn is_node(&self, client: IpAddr, asked: IpAddr) -> bool {
        client == asked
            || client.is_loopback()
            || self.addresses.read().unwrap_or_else(PoisonError::into_inner).contains(&client)
    }

    /// Where a client is.
    pub(crate) fn origin(&self, client: IpAddr, asked: IpAddr) -> Origin {
        if self.is_node(client, asked) || self.is_pod(client) { Origin::Inside } else { Origin::Outside }
    }

    fn is_pod(&self, client: IpAddr) -> bool {
        let detector = self.detector.read().unwrap_or_else(PoisonError::into_inner).clone();
        let by_interface = |holds: &dyn Fn(&str) -> bool| match self.interface_to(client) {
            Ok(name) => name.is_some_and(|name| holds(&name)),
            Err(error) => {
                warn!(%client, "taken for a client outside: {}", error_chain(&error));
                false
            }
        };
        match detector {
            Some(LocalDetector::Cidr(pods)) => pods.contains(&client),
            Some(LocalDetector::Interface(name)) => by_interface(&|found| found == &*name),
            Some(LocalDetector::InterfacePrefix(prefix)) => {
                by_interface(&|found| found.starts_with(&*prefix))
            }
            // Ways to tell pods that are not known here tell none.
            None | Some(_) => false,
        }
    }

    /// The name of the interface by which packets to `client` leave.
    fn interface_to(&self, client: IpAddr) -> Result<Option<String>, NetlinkError> {
        let mut socket = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        let lookup = |message: &mut MessageWriter<'_>| rtnetlink::write_lookup(message, client);
        let way = socket.request(kind::GET_ROUTE, flag::ACK, lookup, |way: &mut Option<_>, message| {
            *way = way.or_else(|| rtnetlink::read_way(message));
        })?;
        let Some(way) = way else { return Ok(None) };
        let question =
            |message: &mut MessageWriter<'_>| rtnetlink::write_link_question(message, way.interface);
        socket.request(kind::GET_LINK, flag::ACK, question, |name, message| {
            *name = rtnetlink::read_link_name(message);
        })
    }
}
