//! Who is shown as who it is, and who as the node: every sender, every address, every policy, with and
//! without detection of pods, with and without `masqueradeAll`.
//!
//! What must come out is worked out here from the rules as documented, on its own:
//!
//! | to | masqueraded |
//! |---|---|
//! | cluster IP | under `masqueradeAll`; else every client that is not a local pod |
//! | others, policy Cluster | every client |
//! | others, policy Local | the node only, since pods and clients keep their address |

use super::detection;
use crate::scenario::Scenario;
use crate::scenario::check::{Check, from};
use crate::scenario::need::Need;
use crate::scenario::objects::{Objects, away, here, pods, service_at};
use crate::scenario::packet::{
    CLIENT, Destination, NODE_ITSELF, POD, Seen, Sender, cluster_ip, external_ip, load_balancer_ip, node_port,
};

/// Pod 1 is here and pod 2 is not.
const ALL: [u8; 2] = [1, 2];
const HERE: [u8; 1] = [1];

/// The Services of the matrix: name, number, and policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Cluster,
    ExternalLocal,
    InternalLocal,
}

impl Policy {
    const ALL: [Self; 3] = [Self::Cluster, Self::ExternalLocal, Self::InternalLocal];

    fn number(self) -> u8 {
        match self {
            Self::Cluster => 70,
            Self::ExternalLocal => 80,
            Self::InternalLocal => 90,
        }
    }

    fn objects(self) -> Vec<portolan_core::event::Event> {
        let (name, service) = match self {
            Self::Cluster => ("plain", service_at("plain", self.number())),
            Self::ExternalLocal => ("outer", service_at("outer", self.number()).external_local()),
            Self::InternalLocal => ("inner", service_at("inner", self.number()).internal_local()),
        };
        [service.events(), pods(name, [here(1), away(2)])].concat()
    }
}

/// Whether the node can detect pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detector {
    Present,
    Absent,
}

/// `masqueradeAll`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MasqueradeAll {
    On,
    Off,
}

/// Whom a sender reaches by an address from outside the cluster, and as whom.
fn outside(sender: Sender, policy: Policy, detector: Detector) -> (&'static [u8], Seen) {
    match (policy, sender) {
        (Policy::Cluster | Policy::InternalLocal, _) | (_, Sender::Node) => (&ALL, Seen::TheNode),
        (_, Sender::Pod(_)) if detector == Detector::Present => (&ALL, Seen::Themselves),
        _ => (&HERE, Seen::Themselves),
    }
}

/// The same by the cluster IP.
fn inside(sender: Sender, policy: Policy, detector: Detector, all: MasqueradeAll) -> (&'static [u8], Seen) {
    let reached: &[u8] = if policy == Policy::InternalLocal { &HERE } else { &ALL };
    let is_stranger = detector == Detector::Present && !matches!(sender, Sender::Pod(_));
    let is_hidden = all == MasqueradeAll::On || is_stranger;
    (reached, if is_hidden { Seen::TheNode } else { Seen::Themselves })
}

fn matrix(detector: Detector, all: MasqueradeAll) -> Scenario {
    let mut scenario = Scenario::new().configured(|config| config.masquerade_all = all == MasqueradeAll::On);
    if detector == Detector::Absent {
        scenario = scenario.configured(detection::nothing);
    }
    for policy in Policy::ALL {
        scenario = scenario.given(policy.objects());
    }
    let check = |sender: Sender, to: Destination, (pods, seen): (&[u8], Seen)| -> Check {
        from([sender]).to([to]).reaches(pods.iter().copied()).seen(seen)
    };
    for policy in Policy::ALL {
        let number = policy.number();
        for sender in [CLIENT, POD, NODE_ITSELF] {
            scenario =
                scenario.expect(check(sender, cluster_ip(number), inside(sender, policy, detector, all)));
            for to in [node_port(number), load_balancer_ip(number), external_ip(number)] {
                scenario = scenario.expect(check(sender, to, outside(sender, policy, detector)));
            }
        }
    }
    scenario
}

pub(in crate::scenario) fn matrix_with_local_pod_detection() -> Scenario {
    matrix(Detector::Present, MasqueradeAll::Off).needing(Need::LocalShortCut)
}

pub(in crate::scenario) fn matrix_without_local_pod_detection() -> Scenario {
    matrix(Detector::Absent, MasqueradeAll::Off).needing(Need::LocalShortCut)
}

pub(in crate::scenario) fn matrix_with_masquerade_all_and_local_pod_detection() -> Scenario {
    matrix(Detector::Present, MasqueradeAll::On).needing(Need::LocalShortCut)
}

pub(in crate::scenario) fn matrix_with_masquerade_all_without_local_pod_detection() -> Scenario {
    matrix(Detector::Absent, MasqueradeAll::On).needing(Need::LocalShortCut)
}

pub(in crate::scenario) fn a_pod_that_is_asked_directly_sees_who_asks() -> Scenario {
    let directly = Destination::new("pod2 itself", "10.244.0.12", "fd00:10:244::12", 8080);
    Scenario::new()
        .configured(|config| config.masquerade_all = true)
        .given(Policy::Cluster.objects())
        .expect(from([CLIENT, POD, NODE_ITSELF]).to([directly]).passes_untouched())
}
