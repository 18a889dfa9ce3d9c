//! Real packets for tests: a private network per test, servers and callers inside it.
//!
//! A kernel test calls [`isolated`], builds a [`Topology`] in the network stack it was given, starts
//! [`EchoServer`]s in the pods, runs the proxy or a backend in the node, and then sends traffic with a
//! [`Caller`]:
//!
//! ```no_run
//! use portolan_testkit::netns::{Caller, EchoServer, Topology, isolated};
//!
//! isolated(|| {
//!     let net = Topology::routed(3).unwrap();
//!     let _servers = net.serve(&[8080]).unwrap();
//!     let address = net.pod(1).socket_v4(8080);
//!
//!     let answer = Caller::from(net.client()).connect_tcp(address).unwrap();
//!
//!     assert_eq!(answer.pod, "pod1");
//! });
//! ```
//!
//! Holds: nothing a test does here reaches the network of the machine, and nothing it starts outlives it,
//! however it ends. A test that cannot get its namespaces fails with the reason; it never passes unrun.
//!
//! Network namespaces belong to threads, not to processes, so every call that must happen "in the pod"
//! runs on its own thread, which has entered the pod's namespace and ends afterwards. A socket stays in
//! the namespace it was opened in, whichever thread uses it later.

mod caller;
mod echo;
mod error;
mod http;
mod isolation;
mod manifests;
mod namespace;
mod nft;
mod pod_counts;
mod portolan;
mod ports;
mod probe;
mod program;
mod refusal;
mod repeated;
mod sctp;
mod stream;
mod topology;
mod wait;

pub use caller::{Answer, Caller, TrafficError, Transport};
pub use echo::EchoServer;
pub use error::NetnsError;
pub use http::{HttpReply, http_get};
pub use isolation::isolated;
pub use manifests::ManifestFolder;
pub use namespace::{Namespace, RunningProgram};
pub use nft::{assert_ruleset_reloads, list_ruleset, load_ruleset};
pub use pod_counts::PodCounts;
pub use portolan::Portolan;
pub use probe::{ProbeReport, Prober};
pub use program::Program;
pub use sctp::{associations_opened, speaks_sctp};
pub use stream::{LongConnection, StreamReport};
pub use topology::{
    CLIENT_V4, CLIENT_V6, GATEWAY_V4, GATEWAY_V6, NODE_V4, NODE_V6, NODE_WORLD_V4, NODE_WORLD_V6,
    POD_CIDR_V4, POD_CIDR_V6, Pod, Topology, WORLD_V4, WORLD_V6, pod_v4, pod_v6,
};
pub use wait::{wait_until, wait_until_local};
