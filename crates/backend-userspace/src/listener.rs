//! One open socket at a listen address, and the task that serves it.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::SetUsize;
use portolan_core::backend::error_chain;
use portolan_core::{IpFamily, Protocol};
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::warn;

use crate::address::{AddressKind, ListenAddress};
use crate::balancer::{Balancer, Origin};
use crate::filter::Guard;
use crate::limits::{Kind, Permit};
use crate::node::NodeContext;
use crate::relay::Relay;
use crate::ttl::receive_ttl;
use crate::unserved::ListenError;
use crate::{tcp, udp};

/// How many connections may wait to be accepted; `net.core.somaxconn` limits it further.
const BACKLOG: i32 = 4096;
/// After how long a silent peer is probed, how often, and how many times: a relayed connection ends some four minutes
/// after its client or endpoint vanished.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(120);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMES: u32 = 4;
/// The buffers of UDP sockets for bursts, as far as `net.core.rmem_max` and `wmem_max` allow.
const UDP_BUFFER: usize = 1 << 20;
/// The MTU of every IPv6 path, in bytes (RFC 8200 section 5), and what it leaves for TCP after both headers.
const MIN_MTU_V6: usize = 1280;
const MIN_MSS_V6: u32 = 1220;

/// `IP_MTU_DISCOVER`, ip(7), and its value that lets packets be fragmented: `IP_PMTUDISC_DONT` of linux/in.h.
#[derive(Debug, Clone, Copy)]
struct MtuDiscover;

nix::setsockopt_impl!(MtuDiscover, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, usize, SetUsize);

const PMTUDISC_DONT: usize = 0;

/// The maximum length of the fragments of a datagram: `IPV6_MTU`, ipv6(7).
#[derive(Debug, Clone, Copy)]
struct MtuV6;

nix::setsockopt_impl!(MtuV6, libc::IPPROTO_IPV6, libc::IPV6_MTU, usize, SetUsize);

/// What a listener shares with the sessions that came through it.
#[derive(Debug)]
pub(crate) struct ListenerContext {
    pub(crate) address: ListenAddress,
    pub(crate) kind: AddressKind,
    pub(crate) balancer: Arc<Balancer>,
    pub(crate) node: Arc<NodeContext>,
    pub(crate) relay: Arc<Relay>,
}

impl ListenerContext {
    /// Admits a session of a client. Where a limit is reached, `evict` may end another one first.
    ///
    /// The packet filter has checked the client before, but not where its program would be too long, nor for connections
    /// that were waiting when it changed.
    pub(crate) fn admit(&self, kind: Kind, client: IpAddr, evict: impl FnOnce() -> bool) -> Option<Permit> {
        let (limits, service) = (&self.relay.limits, &self.balancer.name.service);
        let is_node = self.node.is_node(client, self.address.socket.ip());
        let guard = self.balancer.state().guard(self.kind);
        if !guard.is_some_and(|guard| guard.admits(client, is_node)) {
            limits.counters.turned_away.add(1);
            return None;
        }
        let again = |full| if evict() { limits.admit(kind, service) } else { Err(full) };
        let permit = limits.admit(kind, service).or_else(again);
        permit.map_err(|full| limits.count_rejected(full, service)).ok()
    }

    /// Where a client is.
    pub(crate) fn origin(&self, client: IpAddr) -> Origin {
        self.node.origin(client, self.address.socket.ip())
    }
}

/// A listen address that is served.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) context: Arc<ListenerContext>,
    guard: Arc<Guard>,
    socket: ListenSocket,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
enum ListenSocket {
    Tcp(Arc<TcpListener>),
    Udp(Arc<UdpSocket>),
}

impl Listener {
    /// Opens the socket and starts its task.
    pub(crate) fn open(
        context: ListenerContext,
        guard: Arc<Guard>,
        permit: Permit,
    ) -> Result<Self, ListenError> {
        let context = Arc::new(context);
        let _runtime = context.relay.handle.enter();
        let (stop, stopped) = oneshot::channel();
        let socket = bind(&context, &guard)?;
        let (socket, task) = if context.address.protocol == Protocol::Tcp {
            let listener = Arc::new(TcpListener::from_std(socket.into())?);
            let serving = tcp::serve(permit, Arc::clone(&listener), Arc::clone(&context), stopped);
            (ListenSocket::Tcp(listener), tokio::spawn(serving))
        } else {
            let socket = Arc::new(UdpSocket::from_std(socket.into())?);
            let serving = udp::serve(permit, Arc::clone(&socket), Arc::clone(&context), stopped);
            (ListenSocket::Udp(socket), tokio::spawn(serving))
        };
        Ok(Self { context, guard, socket, stop, task })
    }

    /// Changes which clients are let in. Returns whether that is a change.
    pub(crate) fn set_guard(&mut self, guard: Arc<Guard>) -> bool {
        if self.guard == guard {
            return false;
        }
        let address = self.context.address;
        let attached = match &self.socket {
            ListenSocket::Tcp(listener) => attach_guard(&SockRef::from(&**listener), &guard),
            ListenSocket::Udp(socket) => attach_guard(&SockRef::from(&**socket), &guard),
        };
        if let Err(error) = attached {
            let (service_port, err) = (&self.context.balancer.name, error_chain(&error));
            warn!(servicePort = %service_port, %address, err, "Failed to change packet filter; the old one remains");
        }
        self.guard = guard;
        true
    }

    /// Closes listeners, and returns when their ports are free. TCP connections continue.
    pub(crate) async fn close_all(listeners: Vec<Self>) {
        let mut tasks = Vec::with_capacity(listeners.len());
        for Self { socket, stop, task, .. } in listeners {
            drop(socket);
            // A task that has ended does not receive it.
            let _ = stop.send(());
            tasks.push(task);
        }
        for task in tasks {
            // A task that panicked has closed its socket as well.
            let _ = task.await;
        }
    }
}

/// Opens a socket at a listen address, with its packet filter attached before the first packet can arrive.
fn bind(context: &ListenerContext, guard: &Guard) -> io::Result<Socket> {
    let ListenAddress { socket: address, protocol } = context.address;
    let (family, is_tcp) = (IpFamily::of(address.ip()), protocol == Protocol::Tcp);
    let kind = if is_tcp { Type::STREAM } else { Type::DGRAM };
    let socket = Socket::new(Domain::for_address(address), kind.nonblocking(), None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        // IPv6 wants the address of an interface, which a local route is not (`__inet6_bind` in net/ipv6/af_inet6.c).
        socket.set_freebind_v6(true)?;
    }
    if context.kind.is_external() {
        prepare_external(&socket, family, is_tcp)?;
    }
    attach_guard(&SockRef::from(&socket), guard)?;
    if is_tcp {
        // Connections of an earlier run may still exist at the port. With UDP this would let two programs share it.
        socket.set_reuse_address(true)?;
        // Accepted connections inherit these.
        socket.set_tcp_nodelay(true)?;
        keep_alive(&SockRef::from(&socket))?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
    } else {
        // Smaller buffers and the default TTL are no failure.
        let _ = (socket.set_recv_buffer_size(UDP_BUFFER), socket.set_send_buffer_size(UDP_BUFFER));
        let _ = receive_ttl(&SockRef::from(&socket), family);
        socket.bind(&address.into())?;
    }
    Ok(socket)
}

/// Prepares a socket at an address that may belong to another host. ICMP errors about its packets go to that host, so path
/// MTU discovery cannot work: packets may be fragmented, or are short enough for every path.
fn prepare_external(socket: &Socket, family: IpFamily, is_tcp: bool) -> io::Result<()> {
    match family {
        IpFamily::V4 => {
            // Allows answers from an address that is not in the table `local`. Without the capability for it an
            // administrator has made the address local.
            let _ = socket.set_ip_transparent_v4(true);
            Ok(setsockopt(socket, MtuDiscover, &PMTUDISC_DONT)?)
        }
        IpFamily::V6 if is_tcp => socket.set_tcp_mss(MIN_MSS_V6),
        IpFamily::V6 => Ok(setsockopt(socket, MtuV6, &MIN_MTU_V6)?),
    }
}

/// Attaches the packet filter of a guard. A program that exceeds `net.core.optmem_max` is left out;
/// [`ListenerContext::admit`] then decides alone.
fn attach_guard(socket: &SockRef<'_>, guard: &Guard) -> io::Result<()> {
    let is = |error: &io::Error, errno| error.raw_os_error() == Some(errno);
    if let Some(program) = guard.program() {
        match socket.attach_filter(&program) {
            Err(error) if is(&error, libc::ENOMEM) => {}
            attached => return attached,
        }
    }
    match socket.detach_filter() {
        Err(error) if !is(&error, libc::ENOENT) => Err(error),
        _ => Ok(()),
    }
}

/// Has the kernel find out when the peer is gone.
pub(crate) fn keep_alive(socket: &SockRef<'_>) -> io::Result<()> {
    let settings = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY)
        .with_retries(KEEPALIVE_TIMES);
    socket.set_tcp_keepalive(&settings)
}
