//! EndpointSlices.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use portolan_core::address::{IpFamily, parse_ip};
use portolan_core::event::{Conditions, EndpointSlice, Hints, SliceEndpoint, SlicePort};
use portolan_core::name::Name;

use super::{Converted, Converter, Origin, Report, text, timestamp};
use crate::decode::Malformed;
use crate::wire::{self, ForName, Text};

const KIND: &str = "EndpointSlice";

const SERVICE_LABEL: &str = "metadata.labels[kubernetes.io/service-name]";

impl Converter {
    /// Converts an EndpointSlice.
    ///
    /// # Errors
    /// It has no name.
    pub(crate) fn endpoint_slice(
        &mut self,
        wire: &wire::EndpointSlice<'_>,
    ) -> Result<Converted<EndpointSlice>, Malformed> {
        let name = self.object_name(KIND, &wire.metadata)?;
        let labels = &wire.metadata.labels;
        let service = text(labels.service_name.as_ref());
        let mut problems = std::mem::take(&mut self.problems);
        let mut report = Report::new(KIND, &name, &mut problems);
        // Of an API server only slices with the label are asked for.
        if service.is_none() && self.origin == Origin::Manifest {
            report.skip_valid(SERVICE_LABEL, "is missing, so the slice belongs to no Service");
        }
        let service = service.filter(|_| labels.headless.is_none());
        let converted = match (service, slice_family(wire.address_type.as_ref(), &mut report)) {
            (Some(service), Some(family)) => Converted::Proxied(EndpointSlice {
                name: name.clone(),
                service: self.intern(service),
                family,
                ports: self.slice_ports(wire, &mut report),
                endpoints: self.slice_endpoints(wire, family, &mut report),
                trigger_time: timestamp(wire.metadata.annotations.trigger_time.as_ref()),
            }),
            _ => Converted::NotProxied(name.clone()),
        };
        self.problems = problems;
        Ok(converted)
    }

    fn slice_ports(&self, wire: &wire::EndpointSlice<'_>, report: &mut Report<'_>) -> Vec<SlicePort> {
        let mut ports = Vec::with_capacity(wire.ports.len());
        let mut seen = HashMap::with_capacity(wire.ports.len());
        for (index, port) in wire.ports.iter().enumerate() {
            // The API server turns an absent name into an empty one; a nil that came through it means "all ports",
            // which no Service port can refer to.
            let name = match (&port.name, self.origin) {
                (Some(name), _) => &**name,
                (None, Origin::Manifest) => "",
                (None, Origin::Api) => {
                    report.skip(format!("ports[{index}].name"), "is missing");
                    continue;
                }
            };
            let number = match port.port {
                Some(0) => {
                    report.skip(format!("ports[{index}].port"), "0 is no port");
                    continue;
                }
                Some(number) => number,
                None => {
                    report.skip_valid(format!("ports[{index}].port"), "is missing");
                    continue;
                }
            };
            let Some(protocol) =
                report.protocol(|| format!("ports[{index}].protocol"), port.protocol.as_ref())
            else {
                continue;
            };
            let port = SlicePort { name: self.intern(name), protocol, port: number };
            match seen.entry((Name::clone(&port.name), protocol)) {
                Entry::Occupied(first) => {
                    report.skip(format!("ports[{index}]"), repetition(*first.get(), &port));
                }
                Entry::Vacant(first) => {
                    first.insert(number);
                }
            }
            ports.push(port);
        }
        ports
    }

    fn slice_endpoints(
        &mut self,
        wire: &wire::EndpointSlice<'_>,
        family: IpFamily,
        report: &mut Report<'_>,
    ) -> Vec<SliceEndpoint> {
        let mut endpoints = Vec::with_capacity(wire.endpoints.len());
        for (index, endpoint) in wire.endpoints.iter().enumerate() {
            let address = match endpoint.addresses.first().map(|address| (&**address, parse_ip(address))) {
                Some((_, Ok(address))) if IpFamily::of(address) == family => Ok(address),
                Some((_, Ok(address))) => Err(format!("{address} is no {family} address")),
                Some((_, Err(error))) => Err(error.to_string()),
                None => Err("is empty".to_owned()),
            };
            match address {
                Ok(address) => endpoints.push(SliceEndpoint {
                    address,
                    conditions: conditions(&endpoint.conditions),
                    node: self.node_name(endpoint.node_name.as_ref()),
                    hints: endpoint.hints.as_ref().and_then(|hints| self.hints(hints)),
                }),
                Err(reason) => report.skip(format!("endpoints[{index}].addresses"), reason),
            }
        }
        endpoints
    }

    pub(super) fn node_name(&self, name: Option<&Text<'_>>) -> Option<Name> {
        text(name).map(|name| self.intern(name))
    }

    fn hints(&mut self, wire: &wire::Hints<'_>) -> Option<Arc<Hints>> {
        let hints = Hints { zones: self.hinted(&wire.for_zones), nodes: self.hinted(&wire.for_nodes) };
        (hints != Hints::default()).then(|| self.share_hints(hints))
    }

    /// A set of names, in the one order that makes equal sets equal.
    fn hinted(&self, names: &[ForName<'_>]) -> Vec<Name> {
        let names = names.iter().filter_map(|entry| text(Some(&entry.name)));
        let mut names: Vec<Name> = names.map(|name| self.intern(name)).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// What to say of a port that has the name and protocol of an earlier one. Both count: their
/// endpoints are those of one Service port, and an endpoint that is named twice counts once.
fn repetition(first: u16, port: &SlicePort) -> String {
    let (protocol, name) = (port.protocol, &port.name);
    let effect = if first == port.port {
        "which changes nothing".to_owned()
    } else {
        format!("so that connections go to {first} and to {} alike", port.port)
    };
    format!("a {protocol} port named {name:?} stands before it, {effect}")
}

/// The family of a slice; nothing for FQDN, which no proxy handles.
fn slice_family(address_type: Option<&Text<'_>>, report: &mut Report<'_>) -> Option<IpFamily> {
    const FIELD: &str = "addressType";
    let Some(name) = text(address_type) else {
        report.skip(FIELD, "is missing");
        return None;
    };
    if name == "FQDN" {
        report.skip_valid(FIELD, "names are not proxied, so the slice is ignored");
        return None;
    }
    let words = [("IPv4", Some(IpFamily::V4)), ("IPv6", Some(IpFamily::V6))];
    report.word(FIELD, address_type, &words, None)
}

fn conditions(wire: &wire::Conditions) -> Conditions {
    Conditions {
        ready: wire.ready.unwrap_or(true),
        serving: wire.serving.unwrap_or(true),
        terminating: wire.terminating.unwrap_or(false),
    }
}
