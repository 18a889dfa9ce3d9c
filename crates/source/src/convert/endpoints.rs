//! Endpoints objects, the predecessor of EndpointSlices, which files may still hold.
//!
//! Each becomes a slice per subset and family, as the mirroring controller of a cluster makes them. The names of these
//! slices hold slashes, which no name in Kubernetes can, so they never equal that of a real slice.

use portolan_core::address::{IpFamily, parse_ip};
use portolan_core::event::{Conditions, EndpointSlice, SliceEndpoint, SlicePort};
use portolan_core::name::{Name, ObjectName};

use super::slice::limit_endpoints;
use super::{Converter, ObjectReport, timestamp};
use crate::decode::Malformed;
use crate::wire::{self, EndpointSubset};

/// The conditions of `notReadyAddresses`.
const NOT_READY: Conditions = Conditions { ready: false, serving: false, terminating: false };

impl Converter {
    /// Converts an Endpoints object. Returns its name, which is that of its Service, and one slice per subset and
    /// family that has addresses; none when the Service is headless.
    ///
    /// # Errors
    /// It has no name.
    pub(crate) fn endpoints(
        &mut self,
        wire: &wire::Endpoints<'_>,
    ) -> Result<(ObjectName, Vec<EndpointSlice>), Malformed> {
        let name = self.object_name("Endpoints", &wire.metadata)?;
        let mut slices = Vec::new();
        if wire.metadata.labels.headless.is_some() {
            return Ok((name, slices));
        }
        let trigger_time = timestamp(wire.metadata.annotations.trigger_time.as_ref());
        let report = &mut ObjectReport { converter: self, kind: "Endpoints", object: &name };
        for (index, subset) in wire.subsets.iter().enumerate() {
            let ports = subset_ports(index, subset, report);
            let addresses = subset_endpoints(index, subset, report);
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
                limit_endpoints(&mut slice, report);
                slices.push(slice);
            }
        }
        Ok((name, slices))
    }
}

fn subset_ports(subset: usize, wire: &EndpointSubset<'_>, report: &mut ObjectReport<'_>) -> Vec<SlicePort> {
    let mut ports = Vec::with_capacity(wire.ports.len());
    for (index, port) in wire.ports.iter().enumerate() {
        let field = format_args!("subsets[{subset}].ports[{index}]");
        if let Some(protocol) = report.protocol(field, port.port, port.protocol.as_ref()) {
            let name = report.converter.name(port.name.as_ref()).unwrap_or_default();
            ports.push(SlicePort { name, protocol, port: port.port });
        }
    }
    ports
}

fn subset_endpoints(
    subset: usize,
    wire: &EndpointSubset<'_>,
    report: &mut ObjectReport<'_>,
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
                    let node = report.converter.name(entry.node_name.as_ref());
                    endpoints.push(SliceEndpoint { address, conditions, node, hints: None });
                }
                Err(error) => report.skip(format_args!("subsets[{subset}].{list}[{index}].ip"), error),
            }
        }
    }
    endpoints
}
