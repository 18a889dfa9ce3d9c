//! Nodes and `ServiceCIDR`s.

use std::net::IpAddr;

use portolan_core::event::{Node, ServiceCidr};
use portolan_core::name::Name;

use super::{Converted, Converter, Report, text};
use crate::decode::Malformed;
use crate::wire::{self, Text};

const NODE: &str = "Node";
const SERVICE_CIDR: &str = "ServiceCIDR";

/// Taint that the cluster autoscaler puts on a node before it removes it
/// (`taints.ToBeDeletedTaint` of kubernetes/autoscaler).
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

impl Converter {
    /// Converts a Node.
    ///
    /// # Errors
    /// It has no name.
    pub(crate) fn node(&mut self, wire: &wire::Node<'_>) -> Result<Converted<Node>, Malformed> {
        let name = Self::cluster_name(NODE, &wire.metadata)?;
        // The API server takes any text for an address of a Node.
        let mut report = Report::new(NODE, &name, &mut self.problems).lenient();
        let addresses =
            ["InternalIP", "ExternalIP"].map(|kind| node_addresses(wire, kind, &mut report)).concat();
        // `podCIDR` came first and is still the only one in old manifests; the API keeps both equal.
        let only = wire.spec.pod_cidr.iter().filter(|_| wire.spec.pod_cidrs.is_empty());
        let pod_cidrs = wire.spec.pod_cidrs.iter().chain(only).map(|cidr| &**cidr);
        let pod_cidrs = report.cidrs("spec.podCIDRs", pod_cidrs);
        let tainted = wire.spec.taints.iter().any(|taint| &*taint.key == TO_BE_DELETED);
        Ok(Converted::Proxied(Node {
            addresses,
            pod_cidrs,
            zone: text(wire.metadata.labels.zone.as_ref()).map(Name::from),
            leaving: tainted || wire.metadata.deletion_timestamp.is_some(),
            name: Name::clone(&name),
        }))
    }

    /// Converts a ServiceCIDR.
    ///
    /// # Errors
    /// It has no name.
    pub(crate) fn service_cidr(
        &mut self,
        wire: &wire::ServiceCidr<'_>,
    ) -> Result<Converted<ServiceCidr>, Malformed> {
        let name = Self::cluster_name(SERVICE_CIDR, &wire.metadata)?;
        let mut report = Report::new(SERVICE_CIDR, &name, &mut self.problems);
        let cidrs = report.cidrs("spec.cidrs", wire.spec.cidrs.iter().map(|cidr: &Text<'_>| &**cidr));
        Ok(Converted::Proxied(ServiceCidr { name: Name::clone(&name), cidrs }))
    }
}

fn node_addresses(wire: &wire::Node<'_>, kind: &str, report: &mut Report<'_>) -> Vec<IpAddr> {
    let entries = wire.status.addresses.iter();
    let of_kind = entries.map(|entry| if &*entry.address_type == kind { &*entry.address } else { "" });
    report.addresses("status.addresses", of_kind)
}
