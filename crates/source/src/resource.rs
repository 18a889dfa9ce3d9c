//! What the four watched kinds have in common, so that each source is written once.

use portolan_core::event::{Change, EndpointSlice, Event, Node, Object, Service, ServiceCidr};
use portolan_core::name::{Name, ObjectName};
use serde::Deserialize;

use crate::convert::{Converted, Converter};
use crate::decode::Malformed;
use crate::wire::{self, Metadata};

/// A kind of object that a source delivers.
pub(crate) trait Resource: Object<Key: Key> + Clone + PartialEq + Send + Sync + 'static {
    /// Its kind, as Kubernetes spells it.
    const KIND: &'static str;
    /// Path of its collection in the API.
    const PATH: &'static str;
    /// Whether a server may lack the kind. A proxy works without it.
    const OPTIONAL: bool = false;
    /// The object as it comes over the wire.
    type Wire<'a>: Deserialize<'a>;

    /// Its metadata.
    fn metadata<'a, 'w>(wire: &'a Self::Wire<'w>) -> &'a Metadata<'w>;

    /// Converts a wire object.
    ///
    /// # Errors
    /// The object has no name.
    fn convert(converter: &mut Converter, wire: &Self::Wire<'_>) -> Result<Converted<Self>, Malformed>;

    /// The event for `change`.
    fn event(change: Change<Self>) -> Event;
}

/// The key of an object.
pub(crate) trait Key: Sized + Send + Sync {
    /// The key of this namespace and name; nothing when a part is missing.
    fn of(namespace: Option<&str>, name: Option<&str>) -> Option<Self>;
}

impl Key for ObjectName {
    fn of(namespace: Option<&str>, name: Option<&str>) -> Option<Self> {
        Some(Self::new(namespace?, name?))
    }
}

impl Key for Name {
    fn of(_: Option<&str>, name: Option<&str>) -> Option<Self> {
        name.map(Self::from)
    }
}

impl Resource for Service {
    const KIND: &'static str = "Service";
    const PATH: &'static str = "/api/v1/services";
    type Wire<'a> = wire::Service<'a>;

    fn metadata<'a, 'w>(wire: &'a Self::Wire<'w>) -> &'a Metadata<'w> {
        &wire.metadata
    }

    fn convert(converter: &mut Converter, wire: &Self::Wire<'_>) -> Result<Converted<Self>, Malformed> {
        converter.service(wire)
    }

    fn event(change: Change<Self>) -> Event {
        Event::Service(change)
    }
}

impl Resource for EndpointSlice {
    const KIND: &'static str = "EndpointSlice";
    const PATH: &'static str = "/apis/discovery.k8s.io/v1/endpointslices";
    type Wire<'a> = wire::EndpointSlice<'a>;

    fn metadata<'a, 'w>(wire: &'a Self::Wire<'w>) -> &'a Metadata<'w> {
        &wire.metadata
    }

    fn convert(converter: &mut Converter, wire: &Self::Wire<'_>) -> Result<Converted<Self>, Malformed> {
        converter.endpoint_slice(wire)
    }

    fn event(change: Change<Self>) -> Event {
        Event::EndpointSlice(change)
    }
}

impl Resource for Node {
    const KIND: &'static str = "Node";
    const PATH: &'static str = "/api/v1/nodes";
    type Wire<'a> = wire::Node<'a>;

    fn metadata<'a, 'w>(wire: &'a Self::Wire<'w>) -> &'a Metadata<'w> {
        &wire.metadata
    }

    fn convert(converter: &mut Converter, wire: &Self::Wire<'_>) -> Result<Converted<Self>, Malformed> {
        converter.node(wire)
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

    fn metadata<'a, 'w>(wire: &'a Self::Wire<'w>) -> &'a Metadata<'w> {
        &wire.metadata
    }

    fn convert(converter: &mut Converter, wire: &Self::Wire<'_>) -> Result<Converted<Self>, Malformed> {
        converter.service_cidr(wire)
    }

    fn event(change: Change<Self>) -> Event {
        Event::ServiceCidr(change)
    }
}
