//! Nodes and `ServiceCIDR`s.

use portolan_core::Event;
use portolan_core::event::{Change, Node, ServiceCidr};
use portolan_core::name::Name;

use super::{Converted, Converter, ObjectReport, Resource, cluster_name, text};
use crate::decode::Malformed;
use crate::wire::{self, Metadata};

/// Taint that the cluster autoscaler puts on a node before it removes it
/// (`taints.ToBeDeletedTaint` of kubernetes/autoscaler).
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

impl Resource for Node {
    const KIND: &'static str = "Node";
    const PATH: &'static str = "/api/v1/nodes";
    const EVENT: fn(Change<Self>) -> Event = Event::Node;
    type Wire<'a> = wire::Node<'a>;

    fn metadata<'a, 'w>(wire: &'a Self::Wire<'w>) -> &'a Metadata<'w> {
        &wire.metadata
    }

    fn convert(converter: &mut Converter, wire: &wire::Node<'_>) -> Result<Converted<Self>, Malformed> {
        let name = cluster_name(Self::KIND, &wire.metadata)?;
        let first_problem = converter.problems.len();
        let mut report = ObjectReport { converter, kind: Self::KIND, object: &name };
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
        // The API server accepts any text as an address of a Node.
        for problem in &mut report.converter.problems[first_problem..] {
            problem.is_invalid = false;
        }
        Ok(Converted::Proxied(Self {
            addresses,
            pod_cidrs,
            zone: text(wire.metadata.labels.zone.as_ref()).map(Name::from),
            leaving: tainted || wire.metadata.deletion_timestamp.is_some(),
            name,
        }))
    }
}

impl Resource for ServiceCidr {
    const KIND: &'static str = "ServiceCIDR";
    const PATH: &'static str = "/apis/networking.k8s.io/v1/servicecidrs";
    // Since Kubernetes 1.33.
    const OPTIONAL: bool = true;
    const EVENT: fn(Change<Self>) -> Event = Event::ServiceCidr;
    type Wire<'a> = wire::ServiceCidr<'a>;

    fn metadata<'a, 'w>(wire: &'a Self::Wire<'w>) -> &'a Metadata<'w> {
        &wire.metadata
    }

    fn convert(
        converter: &mut Converter,
        wire: &wire::ServiceCidr<'_>,
    ) -> Result<Converted<Self>, Malformed> {
        let name = cluster_name(Self::KIND, &wire.metadata)?;
        let mut report = ObjectReport { converter, kind: Self::KIND, object: &name };
        let cidrs = report.cidrs("spec.cidrs", wire.spec.cidrs.iter().map(|cidr| &**cidr));
        Ok(Converted::Proxied(Self { name, cidrs }))
    }
}
