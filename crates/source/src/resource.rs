//! What the four kinds have in common, so that each source is written once.

use portolan_core::event::{Change, EndpointSlice, Event, Node, Object, Service, ServiceCidr};
use portolan_core::name::{Name, ObjectName};
use serde::Deserialize;

use crate::convert::{Converted, Converter};
use crate::decode::Malformed;
use crate::wire::{self, Meta};

/// A kind of object that a source delivers.
pub(crate) trait Resource:
    Object<Key: Send + Sync> + Clone + PartialEq + Send + Sync + 'static
{
    /// Its kind, as Kubernetes spells it.
    const KIND: &'static str;
    /// Path of its collection in the API.
    const PATH: &'static str;
    /// Whether a server may lack the kind, and a proxy do without.
    const OPTIONAL: bool = false;
    /// The object as it comes over the wire.
    type Wire<'a>: Deserialize<'a>;

    /// Its metadata.
    fn meta<'a, 'w>(wire: &'a Self::Wire<'w>) -> &'a Meta<'w>;

    /// Turns a wire object into ours.
    ///
    /// # Errors
    /// The object lacks what every object has, its name.
    fn convert(converter: &mut Converter, wire: &Self::Wire<'_>) -> Result<Converted<Self>, Malformed>;

    /// The key that belongs to this namespace and name; nothing when a part is missing.
    fn key_of(namespace: Option<&str>, name: &str) -> Option<Self::Key>;

    /// The event that tells of `change`.
    fn event(change: Change<Self>) -> Event;
}

fn namespaced(namespace: Option<&str>, name: &str) -> Option<ObjectName> {
    namespace.map(|namespace| ObjectName::new(namespace, name))
}

impl Resource for Service {
    const KIND: &'static str = "Service";
    const PATH: &'static str = "/api/v1/services";
    type Wire<'a> = wire::Service<'a>;

    fn meta<'a, 'w>(wire: &'a Self::Wire<'w>) -> &'a Meta<'w> {
        &wire.metadata
    }

    fn convert(converter: &mut Converter, wire: &Self::Wire<'_>) -> Result<Converted<Self>, Malformed> {
        converter.service(wire)
    }

    fn key_of(namespace: Option<&str>, name: &str) -> Option<ObjectName> {
        namespaced(namespace, name)
    }

    fn event(change: Change<Self>) -> Event {
        Event::Service(change)
    }
}

impl Resource for EndpointSlice {
    const KIND: &'static str = "EndpointSlice";
    const PATH: &'static str = "/apis/discovery.k8s.io/v1/endpointslices";
    type Wire<'a> = wire::EndpointSlice<'a>;

    fn meta<'a, 'w>(wire: &'a Self::Wire<'w>) -> &'a Meta<'w> {
        &wire.metadata
    }

    fn convert(converter: &mut Converter, wire: &Self::Wire<'_>) -> Result<Converted<Self>, Malformed> {
        converter.endpoint_slice(wire)
    }

    fn key_of(namespace: Option<&str>, name: &str) -> Option<ObjectName> {
        namespaced(namespace, name)
    }

    fn event(change: Change<Self>) -> Event {
        Event::EndpointSlice(change)
    }
}

impl Resource for Node {
    const KIND: &'static str = "Node";
    const PATH: &'static str = "/api/v1/nodes";
    type Wire<'a> = wire::Node<'a>;

    fn meta<'a, 'w>(wire: &'a Self::Wire<'w>) -> &'a Meta<'w> {
        &wire.metadata
    }

    fn convert(converter: &mut Converter, wire: &Self::Wire<'_>) -> Result<Converted<Self>, Malformed> {
        converter.node(wire)
    }

    fn key_of(_: Option<&str>, name: &str) -> Option<Name> {
        Some(name.into())
    }

    fn event(change: Change<Self>) -> Event {
        Event::Node(change)
    }
}

impl Resource for ServiceCidr {
    const KIND: &'static str = "ServiceCIDR";
    const PATH: &'static str = "/apis/networking.k8s.io/v1/servicecidrs";
    // Since Kubernetes 1.33.
    const OPTIONAL: bool = true;
    type Wire<'a> = wire::ServiceCidr<'a>;

    fn meta<'a, 'w>(wire: &'a Self::Wire<'w>) -> &'a Meta<'w> {
        &wire.metadata
    }

    fn convert(converter: &mut Converter, wire: &Self::Wire<'_>) -> Result<Converted<Self>, Malformed> {
        converter.service_cidr(wire)
    }

    fn key_of(_: Option<&str>, name: &str) -> Option<Name> {
        Some(name.into())
    }

    fn event(change: Change<Self>) -> Event {
        Event::ServiceCidr(change)
    }
}
