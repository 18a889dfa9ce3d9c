//! How a place meets its clients: whether somebody listens there, and to whom.

use portolan_core::ServicePort;
use portolan_core::plan::{LocalDetector, Unserved};

use crate::balancer::{Origin, Via, endpoints, list_for};
use crate::filter::{Guard, Scope};

/// Who is listened to; nothing where nobody listens, so that the kernel refuses.
pub(crate) fn guard_for(port: &ServicePort, via: Via, detector: Option<&LocalDetector>) -> Option<Guard> {
    let leads_nowhere = |origin| endpoints(port, list_for(port, via, origin)).is_empty();
    let (outside, inside) = (leads_nowhere(Origin::Outside), leads_nowhere(Origin::Inside));
    if outside && inside {
        return match port.unserved {
            Unserved::Reject => None,
            Unserved::Drop => Some(Guard::closed()),
        };
    }
    let scope =
        if outside && port.unserved == Unserved::Drop { inside_of(detector) } else { Scope::Everywhere };
    let ranges = if via == Via::LoadBalancer { port.source_ranges.clone() } else { Box::default() };
    Some(Guard { scope, ranges })
}

/// The node and its pods, as far as a packet filter can tell them; where it cannot, everybody, and whoever
/// accepts asks more closely.
fn inside_of(detector: Option<&LocalDetector>) -> Scope {
    match detector {
        None => Scope::Inside(None),
        Some(LocalDetector::Cidr(pods)) => Scope::Inside(Some(*pods)),
        Some(_) => Scope::Everywhere,
    }
}
