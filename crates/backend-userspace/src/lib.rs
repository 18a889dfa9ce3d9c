//! The userspace mode: Portolan listens at every service address itself and relays the bytes.
//!
//! The oldest way and the slowest, and the last that is tried: it needs nothing of the kernel but sockets
//! and routes. No nf_tables, no iptables, no IPVS, no connection tracking, no device of its own.
//!
//! # The way of a connection
//!
//! ```text
//! client ──▶ 10.96.0.10:80 ─ accept ─▶ whose list?  ─▶ whose turn?      ─▶ connect ─▶ pump both ways
//!            a local route    filter    origin         rounds, affinity     retry      splice
//! ```
//!
//! 1. **Packets come here** (`capture`): a cluster IP is made this node's by a route of type `local` to `lo`. An external
//!    or load-balancer address may be another host's, so only the ports of Services are captured, by routing rules
//!    that lead to tables of such routes. Routes and rules are marked as ours by their protocol number, and are no
//!    addresses of an interface: the node's list of addresses, which the kubelet and network plug-ins read, stays as
//!    it is, and so does everything that others put there. A restart knows ours by the mark; without Portolan running,
//!    connections to cluster IPs are refused instead of leaving the cluster.
//! 2. **Somebody listens there** (`frontends`): a socket for each address and port, and for node ports one for
//!    each accepted address of the node, followed as addresses come and go. So a reply has the address that was
//!    asked. Where nobody serves there is no socket, and the kernel refuses by itself, at once.
//! 3. **Who may not come in is not heard** (`filter`): source ranges, and Local policies on a node without
//!    endpoints, are packet filters on the socket, which take no privilege. The client sees silence, as in
//!    other modes.
//! 4. **An endpoint is chosen** (`balancer`): in turn, in rounds of which each has an order of its own;
//!    clients with affinity come back to theirs; a connection that fails goes on to the next.
//! 5. **Bytes move** (`tcp`, `udp`): TCP by `splice`, without copying through this process, each direction
//!    closed on its own; UDP in batches, with a session for each client. What a sender said before it broke is
//!    passed on, and then that it broke.
//! 6. **Somebody always gets in** (`limits`): neither a Service nor a client takes all listeners or sessions, and UDP clients
//!    that seem to have gone make way for others. What is under way for slow receivers is bounded for all
//!    connections together (`tcp/pipe`).
//! 7. **A Service goes** while its connections stay: nobody listens any more, and its address is kept for as long as a
//!    connection that came by it goes on (`frontends/draining`).
//!
//! # What it needs
//!
//! | capability | for | without it |
//! |---|---|---|
//! | `CAP_NET_ADMIN` | routes and rules | an administrator makes the ranges local once, `ip route add local 10.96.0.0/12 dev lo`, and says so ([`Addresses::Prepared`]) |
//! | `CAP_NET_BIND_SERVICE` | ports below 1024 | `net.ipv4.ip_unprivileged_port_start` |
//! | `CAP_SYS_PTRACE` | naming the program that has a port, when it is another user's | the user is named |
//!
//! So the least is the first two, and with a prepared host none at all.
//!
//! # What differs from the other modes
//!
//! * Receivers see this node, not the client.
//! * All ports of a cluster IP are this node's: what listens there on all addresses (`0.0.0.0`) answers on them too, and
//!   what nobody listens to is refused.
//! * A program on the node that asks a cluster IP has that address as its source.
//! * Where nobody listens at a port of an external address, IPv4 clients get ICMP "administratively prohibited": five
//!   times at once, and then once a second. ICMP errors about packets to such clients do not come here, so packets are
//!   kept short (`foreign`).
//! * No more than 256 different ports of external addresses are served for each family, and not all for one Service. On
//!   kernels without routing rules for ports (before 4.17) whole addresses are captured, but none that a route says is
//!   another host's.
//! * Which pods are local is told from the source address. Where the interface decides
//!   (`detectLocalMode: BridgeInterface` or `InterfaceNamePrefix`), the question is by which interface an answer
//!   would leave: a socket does not tell where a packet came in. The packet filter cannot ask that, so with
//!   these two a Local policy without local endpoints resets TCP connections instead of ignoring them.
//! * Source ranges of a service without endpoints refuse everybody, outsiders too.
//! * Addresses out of service ranges that no Service has are left alone.
//! * An endpoint that is itself an address and port of a service here counts as one that refuses: a relay that
//!   followed it would connect to itself without end. In circles of several nodes packets lose a hop at each
//!   (`hops`), as they would at a router, so that they end there too.
//! * Each UDP client takes a port of the host. No more than half of `net.ipv4.ip_local_port_range` are taken.
//! * SCTP is not served; that is logged, once for each service port, and counted.
//! * When Portolan ends, the connections that go through it end.

mod addresses;
mod backend;
mod balancer;
mod capture;
mod claims;
mod counters;
mod factory;
mod filter;
mod foreign;
mod frontends;
mod holder;
mod hops;
mod limits;
mod listen;
mod origin;
mod quiet;
mod relay;
mod rtnetlink;
mod second_chance;
mod site;
mod tcp;
mod udp;
mod unsupported;

pub use backend::UserspaceBackend;
pub use counters::Counters;
pub use factory::{Addresses, Options, UserspaceFactory};
