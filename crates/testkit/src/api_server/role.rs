//! What a proxy may ask for.

use std::sync::atomic::Ordering;

use super::query::{Verb, WatchedRequest};
use super::{ApiServer, Shared, lock};

/// The rules of the ClusterRole `system:node-proxier`, which kubeadm gives kube-proxy.
const NODE_PROXIER: [(&str, &[Verb]); 5] = [
    ("services", &[Verb::List, Verb::Watch]),
    ("nodes", &[Verb::Get, Verb::List, Verb::Watch]),
    ("endpointslices", &[Verb::List, Verb::Watch]),
    ("servicecidrs", &[Verb::List, Verb::Watch]),
    // Updates of whole Events too, which no client here sends.
    ("events", &[Verb::Create, Verb::Patch]),
];

fn may(request: &WatchedRequest) -> bool {
    let rule = NODE_PROXIER.iter().find(|(resource, _)| *resource == request.resource);
    rule.is_some_and(|(_, verbs)| verbs.contains(&request.verb))
}

/// Whether `request` is to be rejected because of missing rights; notes that it was.
pub(super) fn forbids(shared: &Shared, request: &WatchedRequest) -> bool {
    let forbidden = shared.faults.only_node_proxier.load(Ordering::Relaxed) && !may(request);
    if forbidden {
        lock(&shared.forbidden).push(request.clone());
    }
    forbidden
}

impl ApiServer {
    /// Allows no more from now on than the ClusterRole `system:node-proxier` does.
    pub fn allow_only_what_a_proxy_may(&self) {
        self.shared.faults.only_node_proxier.store(true, Ordering::Relaxed);
    }

    /// Requests that were rejected because of missing rights.
    pub fn forbidden(&self) -> Vec<WatchedRequest> {
        lock(&self.shared.forbidden).clone()
    }
}
