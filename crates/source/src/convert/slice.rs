//! EndpointSlices.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use portolan_core::Event;
use portolan_core::address::{IpFamily, parse_ip};
use portolan_core::event::{Change, Conditions, EndpointSlice, Hints, SliceEndpoint, SlicePort};
use portolan_core::name::Name;

use super::{Converted, Converter, FAMILIES, ObjectReport, Resource, text, timestamp};
use crate::decode::Malformed;
use crate::wire::{self, EndpointHints, Hint, Metadata, Text};

impl Resource for EndpointSlice {
    const KIND: &'static str = "EndpointSlice";
    const PATH: &'static str = "/apis/discovery.k8s.io/v1/endpointslices";
    const EVENT: fn(Change<Self>) -> Event = Event::EndpointSlice;
    type Wire<'a> = wire::EndpointSlice<'a>;

    fn metadata<'a, 'w>(wire: &'a Self::Wire<'w>) -> &'a Metadata<'w> {
        &wire.metadata
    }

    fn convert(
        converter: &mut Converter,
        wire: &wire::EndpointSlice<'_>,
    ) -> Result<Converted<Self>, Malformed> {
        let name = converter.object_name(Self::KIND, &wire.metadata)?;
        let report = &mut ObjectReport { converter, kind: Self::KIND, object: &name };
        let labels = &wire.metadata.labels;
        let service = text(labels.service_name.as_ref());
        // Of an API server only slices with the label are requested.
        if service.is_none() && report.is_manifest() {
            let field = "metadata.labels[kubernetes.io/service-name]";
            report.skip_valid(field, "is missing, so the slice belongs to no Service");
        }
        let service = service.filter(|_| labels.headless.is_none());
        let family = slice_family(wire.address_type.as_ref(), report);
        let (Some(service), Some(family)) = (service, family) else {
            return Ok(Converted::NotProxied(name));
        };
        let mut slice = Self {
            service: report.converter.intern(service),
            family,
            ports: slice_ports(wire, report),
            endpoints: slice_endpoints(wire, family, report),
            trigger_time: timestamp(wire.metadata.annotations.trigger_time.as_ref()),
            name: name.clone(),
        };
        limit_endpoints(&mut slice, report);
        Ok(Converted::Proxied(slice))
    }
}

fn slice_ports(wire: &wire::EndpointSlice<'_>, report: &mut ObjectReport<'_>) -> Vec<SlicePort> {
    let mut ports: Vec<SlicePort> = Vec::with_capacity(wire.ports.len());
    let mut first = HashMap::with_capacity(wire.ports.len());
    for (index, port) in wire.ports.iter().enumerate() {
        let field = format_args!("ports[{index}]");
        // The API server turns an absent name into an empty one; `nil` means "all ports", to which no Service port
        // can refer.
        if port.name.is_none() && !report.is_manifest() {
            report.skip(format_args!("{field}.name"), "is missing");
            continue;
        }
        let Some(number) = port.port else {
            report.skip_valid(format_args!("{field}.port"), "is missing");
            continue;
        };
        let Some(protocol) = report.protocol(field, number, port.protocol.as_ref()) else { continue };
        let name = report.converter.name(port.name.as_ref()).unwrap_or_default();
        let port = SlicePort { name, protocol, port: number };
        match first.entry((port.name.clone(), port.protocol)) {
            Entry::Vacant(entry) => _ = entry.insert(port.port),
            Entry::Occupied(entry) => report.skip(field, repetition(*entry.get(), &port)),
        }
        ports.push(port);
    }
    ports
}

fn slice_endpoints(
    wire: &wire::EndpointSlice<'_>,
    family: IpFamily,
    report: &mut ObjectReport<'_>,
) -> Vec<SliceEndpoint> {
    let mut endpoints = Vec::with_capacity(wire.endpoints.len());
    for (index, endpoint) in wire.endpoints.iter().enumerate() {
        let address = match endpoint.addresses.first().map(|address| parse_ip(address)) {
            Some(Ok(address)) if IpFamily::of(address) == family => Ok(address),
            Some(Ok(address)) => Err(format!("{address} is no {family} address")),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("is empty".to_owned()),
        };
        match address {
            Ok(address) => endpoints.push(SliceEndpoint {
                address,
                conditions: Conditions {
                    ready: endpoint.conditions.ready.unwrap_or(true),
                    serving: endpoint.conditions.serving.unwrap_or(true),
                    terminating: endpoint.conditions.terminating.unwrap_or(false),
                },
                node: report.converter.name(endpoint.node_name.as_ref()),
                hints: endpoint.hints.as_ref().and_then(|hints| converted_hints(hints, report.converter)),
            }),
            Err(reason) => report.skip(format_args!("endpoints[{index}].addresses"), reason),
        }
    }
    endpoints
}

fn converted_hints(wire: &EndpointHints<'_>, converter: &mut Converter) -> Option<Arc<Hints>> {
    let hints =
        Hints { zones: hinted(&wire.for_zones, converter), nodes: hinted(&wire.for_nodes, converter) };
    (hints != Hints::default()).then(|| converter.share_hints(hints))
}

/// A set of names, sorted so that equal sets are equal.
fn hinted(hints: &[Hint<'_>], converter: &Converter) -> Vec<Name> {
    let mut names: Vec<Name> = hints.iter().filter_map(|hint| converter.name(Some(&hint.name))).collect();
    names.sort();
    names.dedup();
    names
}

/// The report on a port that has the name and protocol of an earlier one. Both are used: their endpoints are those of
/// one Service port, and an endpoint that is named twice counts once.
fn repetition(earlier: u16, port: &SlicePort) -> String {
    let SlicePort { protocol, name, port } = port;
    let effect = if earlier == *port {
        "which changes nothing".to_owned()
    } else {
        format!("so that connections go to both {earlier} and {port}")
    };
    format!("an earlier {protocol} port is named {name:?}, {effect}")
}

/// The most combinations of ports and endpoints of one slice, which a slice of 1.5 MB could have millions of.
/// A thousand endpoints, the maximum that an API server accepts, may still have 131 ports.
const MAX_COMBINATIONS: usize = 1 << 17;

/// Leaves out the last endpoints of a slice that has too many for its ports.
pub(super) fn limit_endpoints(slice: &mut EndpointSlice, report: &mut ObjectReport<'_>) {
    let length = MAX_COMBINATIONS / slice.ports.len().max(1);
    let all = slice.endpoints.len();
    if all > length {
        let reason = format_args!(
            "only the first {length} of {all} are used: a slice may have {MAX_COMBINATIONS} combinations of \
             ports and endpoints"
        );
        report.skip_valid("endpoints", reason);
        slice.endpoints.truncate(length);
    }
}

/// The family of a slice; nothing for FQDN, which no proxy handles.
fn slice_family(address_type: Option<&Text<'_>>, report: &mut ObjectReport<'_>) -> Option<IpFamily> {
    const FIELD: &str = "addressType";
    match text(address_type) {
        None => report.skip(FIELD, "is missing"),
        Some("FQDN") => report.skip_valid(FIELD, "names are not proxied, so the slice is ignored"),
        Some(name) => return report.known_value(FIELD, name, &FAMILIES),
    }
    None
}
