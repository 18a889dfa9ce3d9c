//! A backend of one's own, whole: TCP Services through HAProxy.
//!
//! HAProxy rather than nginx, since it changes the servers of a running process through a socket: when only
//! endpoints come and go, which is nearly always, nothing is reloaded and the cost follows the change. And
//! its reloads hand listening sockets from the old process to the new one, so that no connection is refused
//! meanwhile. One would want this mode for what the kernel's do not have: retries on another endpoint,
//! statistics and logs of every connection, and whatever else HAProxy's configuration offers.
//!
//! # What is kept where
//!
//! ```text
//! /run/portolan-haproxy/IPv4/
//!   conf/00-global.cfg             what the process is, and a digest of all frontends
//!   conf/svc-shop.web.http.cfg     one service port: its frontends, its endpoints
//!   master.sock, worker.sock, pid, log
//! ```
//!
//! One process of HAProxy for each family, in master-worker mode. Each plan is rendered
//! ([`render`]: pure, a file for each service port) and compared with these files.
//!
//! * **Endpoints changed**: the Service's file is exchanged, and the running worker is told through its socket
//!   (`add server`, `del server`). A server that goes keeps its connections; it is deleted when the last has
//!   ended, and tried again until then.
//! * **Frontends changed**: the new files are checked by HAProxy itself (`haproxy -c`) before any takes the
//!   place of an old one, and the master reloads. An error names the Service.
//! * **Restart**: files and the worker's own lists are read back. HAProxy goes on through all of it, unless
//!   what ends Portolan must end all its children, as containers and systemd units do.
//!
//! Service addresses become local by routes of our own (`ip route … proto 81`), so that HAProxy can listen there and
//! the kernel rejects connections to ports without a listener.
//!
//! # What it does not do
//!
//! * UDP and SCTP: HAProxy relays streams. Said once for each service port.
//! * Drops: a client outside a Service's source ranges, or under a Local policy without local endpoints, is
//!   let in and cut off at once; where there are no endpoints at all, all clients are rejected.
//! * Endpoints see the node as the sender, as with any relay.
//! * Local pods are detected by their addresses (`detectLocalMode: ClusterCIDR` or `NodeCIDR`), not by interfaces.
//! * Affinity is forgotten at a reload.
//!
//! `testdata/conformance.md` lists every scenario and how the mode stands to it; the tests hold that.

mod backend;
mod diff;
mod factory;
mod folder;
mod haproxy;
mod node;
pub mod render;

pub use backend::HaproxyBackend;
pub use factory::{HaproxyFactory, MODE, Options};

/// Compiles what the guide shows.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/writing-a-backend.md")]
mod guide {}
