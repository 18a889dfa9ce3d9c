//! Nodes and `ServiceCIDR`s.

use portolan_core::event::{Node, ServiceCidr};
use portolan_core::name::Name;

use super::{Converted, Converter, cluster_name, text};
use crate::decode::Malformed;
use crate::wire;

/// Taint that the cluster autoscaler puts on a node before it removes it
/// (`taints.ToBeDeletedTaint` of kubernetes/autoscaler).
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

impl Converter {
    /// Converts a Node.
    ///
    /// # Errors
    /// It has no name.
    pub(crate) fn node(&mut self, wire: &wire::Node<'_>) -> Result<Converted<Node>, Malformed> {
        let name = cluster_name("Node", &wire.metadata)?;
        let first_problem = self.problems.len();
        let (mut report, _) = self.begin("Node", &name);
        let mut addresses = Vec::new();
        for kind in ["InternalIP", "ExternalIP"] {
            let entries = wire.status.addresses.iter();
            let entries =
                entries.map(|entry| if **entry.address_type == *kind { &**entry.address } else { "" });
            addresses.extend(report.addresses("status.addresses", entries));
        }
        // `podCIDR` came first and is still the only one in old manifests; the API keeps both equal.
        let only = wire.spec.pod_cidr.iter().filter(|_| wire.spec.pod_cidrs.is_empty());
        let pod_cidrs = wire.spec.pod_cidrs.iter().chain(only).map(|cidr| &**cidr);
        let pod_cidrs = report.cidrs("spec.podCIDRs", pod_cidrs);
        let tainted = wire.spec.taints.iter().any(|taint| **taint.key == *TO_BE_DELETED);
        let node = Node {
            addresses,
            pod_cidrs,
            zone: text(wire.metadata.labels.zone.as_ref()).map(Name::from),
            leaving: tainted || wire.metadata.deletion_timestamp.is_some(),
            name,
        };
        // The API server takes any text for an address of a Node.
        for problem in &mut self.problems[first_problem..] {
            problem.is_invalid = false;
        }
        Ok(Converted::Proxied(node))
    }

    /// Converts a ServiceCIDR.
    ///
    /// # Errors
    /// It has no name.
    pub(crate) fn service_cidr(
        &mut self,
        wire: &wire::ServiceCidr<'_>,
    ) -> Result<Converted<ServiceCidr>, Malformed> {
        let name = cluster_name("ServiceCIDR", &wire.metadata)?;
        let (mut report, _) = self.begin("ServiceCIDR", &name);
        let cidrs = report.cidrs("spec.cidrs", wire.spec.cidrs.iter().map(|cidr| &**cidr));
        Ok(Converted::Proxied(ServiceCidr { name, cidrs }))
    }
}
