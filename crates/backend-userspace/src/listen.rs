//! Opens the sockets at service addresses.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use portolan_core::backend::error_chain;
use portolan_core::{IpFamily, Protocol, ServicePortName};
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use tracing::warn;

use crate::capture::MOST_RULES;
use crate::filter::Guard;
use crate::limits::Limit;
use crate::{foreign, holder, hops};

/// How many connections may wait to be accepted; the kernel takes less where `net.core.somaxconn` says so.
const BACKLOG: i32 = 4096;
/// When a silent peer is asked whether it is still there, how often, and how many times: a relayed
/// connection is given up some four minutes after its client or endpoint vanished without a word.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(120);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMES: u32 = 4;

/// What a socket speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    /// The protocol as Services name it.
    pub(crate) fn protocol(self) -> Protocol {
        match self {
            Self::Tcp => Protocol::Tcp,
            Self::Udp => Protocol::Udp,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// An address, a port and a protocol that one service port answers at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) transport: Transport,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.transport, self.address)
    }
}

/// Why a service port is not served at a place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    /// Another program has it.
    #[error(
        "{service} cannot be served at {place}: {} has that port",
        holder.as_deref().unwrap_or("another program")
    )]
    Taken { service: ServicePortName, place: Place, holder: Option<String>, source: io::Error },
    /// The address is not this node's.
    #[error(
        "{service} cannot be served at {place}: the address is not this node's (making it so needs CAP_NET_ADMIN)"
    )]
    NotLocal { service: ServicePortName, place: Place },
    /// The port is one of those that take a privilege.
    #[error("{service} cannot be served at {place}: ports below 1024 need CAP_NET_BIND_SERVICE")]
    Forbidden { service: ServicePortName, place: Place, source: io::Error },
    /// The address is another host's, and cannot be taken by its ports.
    #[error(
        "{service} is not served at {place}: the address is another host's, and this kernel has no routing rules for ports (Linux 4.17, CONFIG_IP_MULTIPLE_TABLES)"
    )]
    Anothers { service: ServicePortName, place: Place },
    /// There is no room for a rule.
    #[error(
        "{service} is not served at {place}: there are too many ports of external and load-balancer addresses (at most {MOST_RULES} in all, and not all for one Service)"
    )]
    TooManyPorts { service: ServicePortName, place: Place },
    /// There is no file descriptor left for it.
    #[error("{service} is not served at {place}: the limit of {limit} is reached")]
    Full { service: ServicePortName, place: Place, limit: Limit },
    /// Something else.
    #[error("{service} cannot be served at {place}")]
    Other { service: ServicePortName, place: Place, source: io::Error },
}

impl ListenError {
    fn new(service: &ServicePortName, place: Place, source: io::Error) -> Self {
        let service = service.clone();
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::Taken { service, place, holder: None, source },
            io::ErrorKind::AddrNotAvailable => Self::NotLocal { service, place },
            io::ErrorKind::PermissionDenied => Self::Forbidden { service, place, source },
            _ => match Limit::of_descriptors(&source) {
                Some(limit) => Self::Full { service, place, limit },
                None => Self::Other { service, place, source },
            },
        }
    }

    /// Something that no other variant is for.
    pub(crate) fn other(
        service: &ServicePortName,
        address: SocketAddr,
        transport: Transport,
        source: io::Error,
    ) -> Self {
        Self::Other { service: service.clone(), place: Place { address, transport }, source }
    }

    /// Which service port is not served, where, and a number for the reason.
    fn about(&self) -> (&ServicePortName, Place, u8) {
        let (service, place, reason) = match self {
            Self::Taken { service, place, .. } => (service, place, 0),
            Self::NotLocal { service, place } => (service, place, 1),
            Self::Forbidden { service, place, .. } => (service, place, 2),
            Self::Anothers { service, place } => (service, place, 3),
            Self::TooManyPorts { service, place } => (service, place, 4),
            Self::Full { service, place, .. } => (service, place, 5),
            Self::Other { service, place, .. } => (service, place, 6),
        };
        (service, *place, reason)
    }
}

/// How many service ports are named at a time.
const MOST_NAMED: usize = 200;

/// Logs what is not served: one line for each service port and reason, whose first place it names. To find out who has a
/// port takes a look at every process, so this is for messages, not for every try, and for as many at once as there are.
pub(crate) fn complain(mut errors: Vec<ListenError>) {
    errors.sort_by(|one, other| {
        let ((a, at, why), (b, then, reason)) = (one.about(), other.about());
        (a, why, at).cmp(&(b, reason, then))
    });
    let same = |one: &ListenError, other: &ListenError| {
        let ((a, _, why), (b, _, reason)) = (one.about(), other.about());
        (a, why) == (b, reason)
    };
    let counts: Vec<_> = errors.chunk_by(same).map(<[ListenError]>::len).collect();
    errors.dedup_by(|one, other| same(one, other));
    let unnamed = errors.len().saturating_sub(MOST_NAMED);
    errors.truncate(MOST_NAMED);
    identify(&mut errors);
    for (error, count) in errors.iter().zip(counts) {
        match count - 1 {
            0 => warn!("{}", error_chain(error)),
            others => warn!(others, "{}", error_chain(error)),
        }
    }
    if unnamed > 0 {
        warn!(servicePorts = unnamed, "More service ports are not served, for such reasons");
    }
}

/// Finds out who has the ports that are taken.
fn identify(errors: &mut [ListenError]) {
    let taken = errors.iter().filter_map(|error| match error {
        ListenError::Taken { place, .. } => Some(*place),
        _ => None,
    });
    let mut holders = holder::of_all(&taken.collect::<Vec<_>>());
    for error in errors {
        if let ListenError::Taken { place, holder, .. } = error {
            *holder = holders.remove(place);
        }
    }
}

/// Listens for connections.
pub(crate) fn tcp(
    service: &ServicePortName,
    address: SocketAddr,
    guard: &Guard,
    may_be_anothers: bool,
) -> Result<TcpListener, ListenError> {
    let place = Place { address, transport: Transport::Tcp };
    let open = || {
        let socket = bound(address, Type::STREAM, guard, may_be_anothers)?;
        // What is set here holds for the connections that are accepted.
        socket.set_tcp_nodelay(true)?;
        keep_alive(&SockRef::from(&socket))?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    open().map_err(|source| ListenError::new(service, place, source))
}

/// Waits for datagrams.
pub(crate) fn udp(
    service: &ServicePortName,
    address: SocketAddr,
    guard: &Guard,
    may_be_anothers: bool,
) -> Result<UdpSocket, ListenError> {
    let place = Place { address, transport: Transport::Udp };
    let open = || {
        let socket = bound(address, Type::DGRAM, guard, may_be_anothers)?;
        enlarge(&SockRef::from(&socket));
        // Where it is not told, it is taken to be the usual.
        let _ = hops::have_told(&SockRef::from(&socket), IpFamily::of(address.ip()));
        Ok(socket.into())
    };
    open().map_err(|source| ListenError::new(service, place, source))
}

/// A socket at an address, of which other ports may be another host's.
fn bound(address: SocketAddr, kind: Type, guard: &Guard, may_be_anothers: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind.nonblocking(), None)?;
    if kind == Type::STREAM {
        // Connections of an earlier run may linger at the port. For UDP this would let two programs
        // have one port.
        socket.set_reuse_address(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        // IPv6 asks for the address of an interface, which a local route is not (`__inet6_bind` in
        // net/ipv6/af_inet6.c); IPv4 is content with the route.
        socket.set_freebind_v6(true)?;
    }
    if may_be_anothers {
        foreign::prepare(&socket, address, kind)?;
    }
    // Before the first packet can come.
    put_guard(&SockRef::from(&socket), IpFamily::of(address.ip()), guard)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Lets only those through to a socket that its guard admits. A program that is too long for this kernel
/// (`net.core.optmem_max`) is left out; whoever accepts asks the guard as well.
pub(crate) fn put_guard(socket: &SockRef<'_>, family: IpFamily, guard: &Guard) -> io::Result<()> {
    const NO_SUCH: Option<i32> = Some(nix::libc::ENOENT);
    const NO_ROOM: Option<i32> = Some(nix::libc::ENOMEM);
    let attached = guard.program(family).map(|program| socket.attach_filter(&program));
    let outcome = match attached {
        Some(Err(error)) if error.raw_os_error() == NO_ROOM => socket.detach_filter(),
        Some(outcome) => outcome,
        None => socket.detach_filter(),
    };
    outcome.or_else(|error| if error.raw_os_error() == NO_SUCH { Ok(()) } else { Err(error) })
}

/// Has the kernel find out when the other side is gone.
pub(crate) fn keep_alive(socket: &SockRef<'_>) -> io::Result<()> {
    let settings = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY)
        .with_retries(KEEPALIVE_TIMES);
    socket.set_tcp_keepalive(&settings)
}

/// Makes room for bursts of datagrams, as far as `net.core.rmem_max` and `wmem_max` allow.
pub(crate) fn enlarge(socket: &SockRef<'_>) {
    const ROOM: usize = 1 << 20;
    // Less room is no fault.
    let _ = (socket.set_recv_buffer_size(ROOM), socket.set_send_buffer_size(ROOM));
}
