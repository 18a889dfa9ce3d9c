//! Endpoints objects, the predecessor of EndpointSlices, which files may still hold.
//!
//! Each becomes a slice per subset and family, as the mirroring controller of a cluster makes them. The names of these
//! slices hold slashes, which no name in Kubernetes can, so they never equal that of a real slice.

use portolan_core::address::{IpFamily, parse_ip};
use portolan_core::event::{Conditions, EndpointSlice, SliceEndpoint, SlicePort};
use portolan_core::name::{Name, ObjectName};

use super::slice::limit_endpoints;
use super::{Converter, Report, Shared, timestamp};
use crate::decode::Malformed;
use crate::wire::{self, EndpointSubset};

/// The conditions of `notReadyAddresses`.
const NOT_READY: Conditions = Conditions { ready: false, serving: false, terminating: false };

/// The slices of one Endpoints object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MirroredEndpoints {
    /// The object, whose name is its Service's.
    pub(crate) name: ObjectName,
    /// One slice per subset and family that has addresses; none when the Service is headless.
    pub(crate) slices: Vec<EndpointSlice>,
}

impl Converter {
    /// Converts an Endpoints object.
    ///
    /// # Errors
    /// It has no name.
    pub(crate) fn endpoints(&mut self, wire: &wire::Endpoints<'_>) -> Result<MirroredEndpoints, Malformed> {
        let name = self.object_name("Endpoints", &wire.metadata)?;
        let mut slices = Vec::new();
        if wire.metadata.labels.headless.is_some() {
            return Ok(MirroredEndpoints { name, slices });
        }
        let trigger_time = timestamp(wire.metadata.annotations.trigger_time.as_ref());
        let (mut report, shared) = self.begin("Endpoints", &name);
        for (index, subset) in wire.subsets.iter().enumerate() {
            let ports = subset_ports(index, subset, shared, &mut report);
            let addresses = subset_endpoints(index, subset, shared, &mut report);
            for family in IpFamily::ALL {
                let of_family = |endpoint: &&SliceEndpoint| IpFamily::of(endpoint.address) == family;
                let endpoints: Vec<_> = addresses.iter().filter(of_family).cloned().collect();
                if endpoints.is_empty() {
                    continue;
                }
                let slice_name = format!("{}/{index}/{family}", name.name);
                let mut slice = EndpointSlice {
                    name: ObjectName { namespace: Name::clone(&name.namespace), name: slice_name.into() },
                    service: Name::clone(&name.name),
                    family,
                    ports: ports.clone(),
                    endpoints,
                    trigger_time,
                };
                limit_endpoints(&mut slice, &mut report);
                slices.push(slice);
            }
        }
        Ok(MirroredEndpoints { name, slices })
    }
}

fn subset_ports(
    subset: usize,
    wire: &EndpointSubset<'_>,
    shared: &Shared,
    report: &mut Report<'_>,
) -> Vec<SlicePort> {
    let mut ports = Vec::with_capacity(wire.ports.len());
    for (index, port) in wire.ports.iter().enumerate() {
        let field = format_args!("subsets[{subset}].ports[{index}]");
        if let Some(protocol) = report.protocol(field, port.port, port.protocol.as_ref()) {
            let name = shared.name(port.name.as_ref()).unwrap_or_default();
            ports.push(SlicePort { name, protocol, port: port.port });
        }
    }
    ports
}

fn subset_endpoints(
    subset: usize,
    wire: &EndpointSubset<'_>,
    shared: &Shared,
    report: &mut Report<'_>,
) -> Vec<SliceEndpoint> {
    let lists = [
        ("addresses", &wire.addresses, Conditions::READY),
        ("notReadyAddresses", &wire.not_ready_addresses, NOT_READY),
    ];
    let mut endpoints = Vec::with_capacity(wire.addresses.len() + wire.not_ready_addresses.len());
    for (list, addresses, conditions) in lists {
        for (index, entry) in addresses.iter().enumerate() {
            match parse_ip(&entry.ip) {
                Ok(address) => {
                    let node = shared.name(entry.node_name.as_ref());
                    endpoints.push(SliceEndpoint { address, conditions, node, hints: None });
                }
                Err(error) => report.skip(format_args!("subsets[{subset}].{list}[{index}].ip"), error),
            }
        }
    }
    endpoints
}
