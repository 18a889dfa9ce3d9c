//! The scenarios themselves, a module for each part of the rules.
//!
//! Every function here is named in [`every_scenario!`](crate::every_scenario); the compiler finds one that
//! is not, since nothing uses it then.

pub(super) mod affinity;
pub(super) mod detection;
pub(super) mod external_policy;
pub(super) mod hairpin;
pub(super) mod host_network;
pub(super) mod internal_policy;
pub(super) mod lifecycle;
pub(super) mod masquerade;
pub(super) mod node_ports;
pub(super) mod ports;
pub(super) mod ranges;
pub(super) mod terminating;
pub(super) mod topology;
pub(super) mod unserved;

use super::check::{Check, from};
use super::packet::{CLIENT, NODE_ITSELF, POD, WEB, cluster_ip, everywhere, external};

/// Everybody reaches these pods by every address of [`web`](super::web), under Cluster policies on a node
/// that can detect its pods.
fn all_reach(pods: &[u8]) -> Vec<Check> {
    let cluster_ip = || [cluster_ip(WEB)];
    let reached = |traffic: super::Traffic| traffic.reaches(pods.iter().copied());
    vec![
        reached(from([POD]).to(cluster_ip())).as_themselves(),
        reached(from([CLIENT, NODE_ITSELF]).to(cluster_ip())).as_the_node(),
        reached(from([CLIENT, POD, NODE_ITSELF]).to(external())).as_the_node(),
    ]
}

/// Everybody is refused at every address of [`web`](super::web).
fn all_are_refused() -> Check {
    from([CLIENT, POD, NODE_ITSELF]).to(everywhere()).is_refused()
}
