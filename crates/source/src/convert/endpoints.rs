//! Endpoints objects, the predecessor of EndpointSlices, which files may still hold.
//!
//! One becomes a slice per subset and family, as the mirroring controller of a
//! cluster would make them. The slices' names hold slashes, which no Kubernetes
//! name can, so they never meet a real slice's.

use std::net::IpAddr;

use portolan_core::address::{IpFamily, parse_ip};
use portolan_core::event::{Conditions, EndpointSlice, SliceEndpoint, SlicePort};
use portolan_core::name::{Name, ObjectName};

use super::slice::bound;
use super::{Converter, Report, text, timestamp};
use crate::decode::Malformed;
use crate::wire::{self, Subset, SubsetAddress};

const KIND: &str = "Endpoints";

/// What `notReadyAddresses` says of its pods.
const NOT_READY: Conditions = Conditions { ready: false, serving: false, terminating: false };

/// The slices that one Endpoints object stands for.
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
        let name = self.object_name(KIND, &wire.metadata)?;
        let mut slices = Vec::new();
        if wire.metadata.labels.headless.is_none() {
            let trigger_time = timestamp(wire.metadata.annotations.trigger_time.as_ref());
            let mut problems = std::mem::take(&mut self.problems);
            let mut report = Report::new(KIND, &name, &mut problems);
            for (index, subset) in wire.subsets.iter().enumerate() {
                let ports = self.subset_ports(index, subset, &mut report);
                let addresses = self.subset_endpoints(index, subset, &mut report);
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
                    bound(&mut slice, &mut report);
                    slices.push(slice);
                }
            }
            self.problems = problems;
        }
        Ok(MirroredEndpoints { name, slices })
    }

    fn subset_ports(&self, subset: usize, wire: &Subset<'_>, report: &mut Report<'_>) -> Vec<SlicePort> {
        let mut ports = Vec::with_capacity(wire.ports.len());
        for (index, port) in wire.ports.iter().enumerate() {
            let field = format!("subsets[{subset}].ports[{index}]");
            if port.port == 0 {
                report.skip(format!("{field}.port"), "0 is no port");
                continue;
            }
            let protocol = report.protocol(|| format!("{field}.protocol"), port.protocol.as_ref());
            ports.extend(protocol.map(|protocol| SlicePort {
                name: self.intern(text(port.name.as_ref()).unwrap_or_default()),
                protocol,
                port: port.port,
            }));
        }
        ports
    }

    fn subset_endpoints(
        &self,
        subset: usize,
        wire: &Subset<'_>,
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
                    Ok(address) => endpoints.push(self.subset_endpoint(address, entry, conditions)),
                    Err(error) => {
                        report.skip(format!("subsets[{subset}].{list}[{index}].ip"), error.to_string());
                    }
                }
            }
        }
        endpoints
    }

    fn subset_endpoint(
        &self,
        address: IpAddr,
        entry: &SubsetAddress<'_>,
        conditions: Conditions,
    ) -> SliceEndpoint {
        SliceEndpoint { address, conditions, node: self.node_name(entry.node_name.as_ref()), hints: None }
    }
}
