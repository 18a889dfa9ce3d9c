//! The userspace mode: Portolan listens at every service address itself and relays the bytes.
//!
//! It is the slowest mode and the last that is tried: it needs only sockets and routes of the kernel. No nf_tables, no
//! iptables, no IPVS, no connection tracking, no network device.
//!
//! # How a connection is relayed
//!
//! ```text
//! client ──▶ 10.96.0.10:80 ─ accept ─▶ which endpoints? ─▶ which of them?    ─▶ connect ─▶ both directions
//!            a local route    filter    traffic policy     rounds, affinity     retry      splice
//! ```
//!
//! 1. **Packets reach this node** (`capture`): a route of type `local` to `lo` makes a cluster IP local. An external or
//!    load-balancer address may belong to another host, so only the ports of Services are captured, by routing rules that
//!    lead to tables of such routes. Our routes and rules are marked by their protocol number, so a restart finds them
//!    again. No address is added to an interface: the kubelet and network plug-ins read the node's addresses. While
//!    Portolan does not run, connections to cluster IPs are refused instead of leaving the cluster.
//! 2. **A socket listens** (`listeners`, `listener`): one for each address and port, and for node ports one for each
//!    accepted address of the node, as addresses come and go. So a reply has the address that was asked. Without endpoints
//!    there is no socket, and the kernel rejects at once.
//! 3. **Other clients are dropped** (`filter`): source ranges, and Local policies on a node without endpoints, are packet
//!    filters on the socket, which need no privilege. As in other modes such a client gets no answer.
//! 4. **An endpoint is chosen** (`balancer`): round-robin in a random order, or by session affinity. A connection that fails
//!    goes to the next endpoint.
//! 5. **Bytes are relayed** (`tcp`, `udp`): TCP with `splice`, without copying, each direction closed independently; UDP in
//!    batches, with a session for each client. What a sender sent before it broke is passed on, and then that it broke.
//! 6. **Every Service gets a part** (`limits`): no Service takes all listeners or sessions, and idle UDP sessions are
//!    evicted for new ones. Bytes under way to slow receivers are bounded for all connections together (`tcp/pipe`).
//! 7. **A Service is removed** and its connections continue: the listener is closed, and its address is released when the
//!    last connection has ended (`listeners/settle`).
//!
//! # What it needs
//!
//! | capability | for | without it |
//! |---|---|---|
//! | `CAP_NET_ADMIN` | routes and rules | an administrator makes the ranges local once, `ip route add local 10.96.0.0/12 dev lo`, and sets [`Addresses::Prepared`] |
//! | `CAP_NET_BIND_SERVICE` | ports below 1024 | `net.ipv4.ip_unprivileged_port_start` |
//! | `CAP_SYS_PTRACE` | the name of another user's program that has a port | the user is named |
//!
//! The first two are enough, and on a prepared host none is needed.
//!
//! # Differences from the other modes
//!
//! * Endpoints see the address of this node, not of the client.
//! * All ports of a cluster IP are local: programs that listen at `0.0.0.0` answer there too, and other ports are refused.
//! * A program on the node that connects to a cluster IP has that address as its source.
//! * Where nothing listens at a port of an external address, IPv4 clients get ICMP "administratively prohibited": five
//!   times at once, and then once a second. ICMP errors about packets to such clients do not come to this node, so packets
//!   are kept short (`listener`).
//! * At most 256 different ports of external addresses are served for each IP family, and not all for one Service. On
//!   kernels without routing rules for ports (before 4.17) whole addresses are captured, except those that a route says
//!   belong to another host.
//! * Local pods are recognized by their source address. With `detectLocalMode: BridgeInterface` or `InterfaceNamePrefix`
//!   the interface is the one through which an answer would leave: a socket does not tell where a packet came in. The
//!   packet filter cannot look that up, so with these two a Local policy without local endpoints resets TCP connections
//!   instead of dropping them.
//! * Source ranges of a Service without endpoints do not matter: all clients are refused.
//! * Unused addresses of service ranges are left alone.
//! * An endpoint that is a service address of this node counts as one that refuses: a relay would connect to itself without
//!   end. Between several nodes the TTL ends such a loop (`ttl`), as with routers.
//! * Each UDP client takes a port of the host, of which at most half (`net.ipv4.ip_local_port_range`) are taken.
//! * SCTP is not served; this is logged once for each service port, and counted.
//! * When Portolan ends, the connections through it end.

mod address;
mod backend;
mod balancer;
mod capture;
mod counters;
mod filter;
mod limits;
mod listener;
mod listeners;
mod node;
mod port_owner;
mod relay;
mod tcp;
mod ttl;
mod udp;
mod unserved;

pub use backend::{Addresses, Options, UserspaceBackend, UserspaceFactory};
pub use counters::{Count, Counters};
