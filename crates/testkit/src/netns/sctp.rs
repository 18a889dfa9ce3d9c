//! SCTP, where the kernel has it: sockets of the one-to-one style, which look like TCP's (RFC 6458, section 4).
//!
//! Holds: each socket is bound to one address. One that is bound to all of its host's would list them in the
//! handshake, and the peer would go on by those that no translation on the way knows of.
//!
//! A refusal is an ABORT, which the socket reports, or an ICMP error, which it does not: that might only tell of a
//! path that is broken, so the kernel keeps it for the next reader (`sctp_v4_err` in `net/sctp/input.c`) and goes on
//! trying. So [`connect`] asks.

use std::env;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use nix::libc::{EINPROGRESS, EPROTONOSUPPORT, ESOCKTNOSUPPORT, IPPROTO_SCTP};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Namespace, NetnsError};

/// Set to `required`, this variable makes a kernel without SCTP a failure.
const VARIABLE: &str = "PORTOLAN_SCTP";

/// Addresses are given to the peer whatever their scope: there is one at each end, and public ends have private
/// peers here. What is lost is repeated after a second, as by TCP; the kernel's three seconds would let it pass for
/// dropped.
pub(super) const SETTINGS: &[(&str, &str)] =
    &[("net/sctp/addr_scope_policy", "0"), ("net/sctp/rto_initial", "1000")];

/// How long until the kernel is asked for an error again.
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// As many connections as may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Whether this kernel has SCTP; it loads the module for that, if there is one.
///
/// # Errors
/// It has none, although the environment says `PORTOLAN_SCTP=required`. Or it cannot tell.
pub fn speaks_sctp() -> Result<bool, NetnsError> {
    // Each socket that it has no protocol for makes the kernel look for a module.
    static OPENED: OnceLock<Result<(), i32>> = OnceLock::new();
    let open = || socket(Domain::IPV4).map(drop).map_err(|error| error.raw_os_error().unwrap_or_default());
    match OPENED.get_or_init(open) {
        Ok(()) => Ok(true),
        Err(EPROTONOSUPPORT | ESOCKTNOSUPPORT)
            if env::var_os(VARIABLE).is_some_and(|is| is == "required") =>
        {
            Err(NetnsError::NoSctp)
        }
        Err(EPROTONOSUPPORT | ESOCKTNOSUPPORT) => Ok(false),
        Err(errno) => Err(NetnsError::io("open", "a socket of SCTP")(io::Error::from_raw_os_error(*errno))),
    }
}

/// How many associations a namespace has opened, by the kernel's own count (`SctpActiveEstabs` of RFC 3873).
///
/// # Errors
/// The kernel has no SCTP, or the namespace cannot be entered.
pub fn associations_opened(namespace: &Namespace) -> Result<u64, NetnsError> {
    const COUNTS: &str = "/proc/thread-self/net/sctp/snmp";
    let counts = namespace.run(|| fs::read_to_string(COUNTS))?.map_err(NetnsError::io("read", COUNTS))?;
    let count = counts.lines().find_map(|line| line.strip_prefix("SctpActiveEstabs")?.trim().parse().ok());
    count.ok_or_else(|| NetnsError::io("find the associations in", COUNTS)(ErrorKind::InvalidData.into()))
}

/// The addresses of this thread's namespace that others may ask at.
pub(super) fn own_addresses() -> io::Result<Vec<IpAddr>> {
    let of_interface = |address: &nix::sys::socket::SockaddrStorage| -> Option<IpAddr> {
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        // Addresses of one link would need the link's number.
        let v6 = address.as_sockaddr_in6().map(nix::sys::socket::SockaddrIn6::ip);
        v4.or(v6.filter(|address| !address.is_unicast_link_local()).map(IpAddr::V6))
    };
    Ok(getifaddrs()?.filter_map(|interface| of_interface(interface.address.as_ref()?)).collect())
}

/// Listens in this thread's namespace. The type is that of the sockets whose calls it shares.
pub(super) fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(Domain::for_address(at))?;
    // An earlier listener may still be shutting down its associations.
    socket.set_reuse_address(true)?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Connects from this thread's namespace within `patience`, by the address that routing chooses unless `from` has one.
pub(super) fn connect(from: SocketAddr, to: SocketAddr, patience: Duration) -> io::Result<Socket> {
    let start = Instant::now();
    let socket = socket(Domain::for_address(to))?;
    let source = if from.ip().is_unspecified() { routed_source(from, to)? } else { from };
    socket.bind(&source.into())?;
    socket.set_nonblocking(true)?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() == Some(EINPROGRESS) => {}
        connected => connected?,
    }
    while !is_connected(&socket)? {
        if start.elapsed() >= patience {
            return Err(ErrorKind::TimedOut.into());
        }
    }
    socket.set_nonblocking(false)?;
    Ok(socket)
}

fn socket(domain: Domain) -> io::Result<Socket> {
    Socket::new(domain, Type::STREAM, Some(Protocol::from(IPPROTO_SCTP)))
}

/// Waits a little for the handshake's end.
fn is_connected(socket: &Socket) -> io::Result<bool> {
    let mut wanted = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
    let little = PollTimeout::try_from(BETWEEN_LOOKS).map_err(io::Error::other)?;
    let changed = poll(&mut wanted, little)? > 0;
    // Also what is no error of the socket's yet.
    match socket.take_error()? {
        Some(error) => Err(error),
        None => Ok(changed),
    }
}

/// The address that a socket would send from which is bound to none, as the kernel chooses it for UDP.
fn routed_source(from: SocketAddr, to: SocketAddr) -> io::Result<SocketAddr> {
    let socket = UdpSocket::bind(SocketAddr::new(from.ip(), 0))?;
    socket.connect(to)?;
    Ok(SocketAddr::new(socket.local_addr()?.ip(), from.port()))
}
