//! Clusters of any size, made of events.

use std::net::{IpAddr, Ipv4Addr};

use portolan_core::Protocol;
use portolan_core::event::{Change, EndpointSlice, Event, Service};
use portolan_core::name::ObjectName;
use portolan_testkit::objects::{service, slice};

/// Address number `index` of a range; the ranges here are wide enough.
fn address(base: [u8; 4], index: u32) -> IpAddr {
    Ipv4Addr::from(u32::from(Ipv4Addr::from(base)) + index).into()
}

/// The `number`th Service, with one port and a cluster IP.
pub(crate) fn nth_service(number: u32) -> Service {
    let ip = address([10, 96, 0, 1], number).to_string();
    service(&format!("shape/s{number}"), &ip).port("http", Protocol::Tcp, 80).build()
}

/// One of its slices, with pods of these numbers.
pub(crate) fn slice_of(service: u32, part: u32, pods: impl IntoIterator<Item = u32>) -> EndpointSlice {
    let empty = slice(&format!("shape/s{service}-{part}"), &format!("s{service}"));
    let on = |slice: portolan_testkit::objects::SliceBuilder, pod: u32| {
        slice.on(&format!("node{}", pod % 100), &address([10, 128, 0, 0], pod).to_string())
    };
    pods.into_iter().fold(empty.port("http", Protocol::Tcp, 8080), on).build()
}

pub(crate) fn applied_slice(slice: EndpointSlice) -> Event {
    Event::EndpointSlice(Change::Applied(slice))
}

pub(crate) fn applied_service(service: Service) -> Event {
    Event::Service(Change::Applied(service))
}

pub(crate) fn deleted_service(number: u32) -> Event {
    Event::Service(Change::Deleted(ObjectName::new("shape", format!("s{number}"))))
}

/// The initial lists of so many Services with so many endpoints each.
pub(crate) fn lists(services: u32, endpoints: u32) -> [Event; 3] {
    let pods = |number: u32| number * endpoints..(number + 1) * endpoints;
    let slices = (0..services).map(|number| slice_of(number, 0, pods(number)));
    [
        Event::Service(Change::Replaced((0..services).map(nth_service).collect())),
        Event::EndpointSlice(Change::Replaced(slices.collect())),
        Event::Node(Change::Replaced(Vec::new())),
    ]
}
