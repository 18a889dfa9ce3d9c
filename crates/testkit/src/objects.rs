//! Objects of the core in a line each, for tests that are about something else.
//!
//! ```
//! use portolan_core::Protocol::Tcp;
//! use portolan_testkit::objects::{service, slice};
//!
//! let web = service("shop/web", "10.96.0.10").port("http", Tcp, 80).build();
//! let pods = slice("shop/web-1", "web").port("http", Tcp, 8080).on("n1", "10.244.1.5").build();
//! assert_eq!(pods.service_name(), web.name);
//! ```

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portolan_core::address::{IpFamily, PerFamily, Protocol};
use portolan_core::event::{
    Change, Conditions, EndpointSlice, Event, Hints, Node, Service, ServiceCidr, ServicePortSpec,
    ServiceType, SliceEndpoint, SlicePort, TrafficPolicy,
};
use portolan_core::name::{Name, ObjectName};

/// Reads an address of a test.
///
/// # Panics
/// The text is no address.
pub fn ip(text: &str) -> IpAddr {
    portolan_core::address::parse_ip(text).unwrap_or_else(|error| panic!("{error}"))
}

/// Reads `namespace/name`.
///
/// # Panics
/// There is no slash in it.
pub fn object_name(text: &str) -> ObjectName {
    let (namespace, name) = text.split_once('/').unwrap_or_else(|| panic!("{text} is not namespace/name"));
    ObjectName::new(namespace, name)
}

/// A Service in the making.
#[derive(Debug, Clone)]
pub struct ServiceBuilder(Service);

/// A Service of type ClusterIP called `namespace/name`, with one cluster IP or two separated by a comma.
pub fn service(name: &str, cluster_ips: &str) -> ServiceBuilder {
    let mut by_family = PerFamily::default();
    for address in cluster_ips.split(',').map(ip) {
        by_family[IpFamily::of(address)] = Some(address);
    }
    ServiceBuilder(Service {
        name: object_name(name),
        created: None,
        service_type: ServiceType::ClusterIp,
        cluster_ips: by_family,
        ports: Vec::new(),
        external_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        load_balancer_source_ranges: Vec::new(),
        internal_traffic_policy: TrafficPolicy::Cluster,
        external_traffic_policy: TrafficPolicy::Cluster,
        health_check_node_port: None,
        session_affinity: None,
    })
}

impl ServiceBuilder {
    /// Adds a port without a node port.
    #[must_use]
    pub fn port(mut self, name: &str, protocol: Protocol, port: u16) -> Self {
        self.0.ports.push(ServicePortSpec { name: name.into(), protocol, port, node_port: None });
        self
    }

    /// Gives the port added last a node port.
    #[must_use]
    pub fn node_port(mut self, node_port: u16) -> Self {
        self.0.service_type = ServiceType::NodePort;
        if let Some(port) = self.0.ports.last_mut() {
            port.node_port = Some(node_port);
        }
        self
    }

    /// Adds an external IP.
    #[must_use]
    pub fn external_ip(mut self, address: &str) -> Self {
        self.0.external_ips.push(ip(address));
        self
    }

    /// Adds a load-balancer address.
    #[must_use]
    pub fn load_balancer_ip(mut self, address: &str) -> Self {
        self.0.service_type = ServiceType::LoadBalancer;
        self.0.load_balancer_ips.push(ip(address));
        self
    }

    /// Adds a range of sources that its load-balancer addresses are open to.
    ///
    /// # Panics
    /// The text is no CIDR.
    #[must_use]
    pub fn source_range(mut self, cidr: &str) -> Self {
        let range = portolan_core::address::parse_cidr(cidr).unwrap_or_else(|error| panic!("{error}"));
        self.0.load_balancer_source_ranges.push(range);
        self
    }

    /// Sets the type that the builder did not guess.
    #[must_use]
    pub fn service_type(mut self, service_type: ServiceType) -> Self {
        self.0.service_type = service_type;
        self
    }

    /// Sets `internalTrafficPolicy: Local`.
    #[must_use]
    pub fn internal_local(mut self) -> Self {
        self.0.internal_traffic_policy = TrafficPolicy::Local;
        self
    }

    /// Sets `externalTrafficPolicy: Local`.
    #[must_use]
    pub fn external_local(mut self) -> Self {
        self.0.external_traffic_policy = TrafficPolicy::Local;
        self
    }

    /// Sets `sessionAffinity: ClientIP` with this time-out.
    #[must_use]
    pub fn affinity(mut self, timeout: Duration) -> Self {
        self.0.session_affinity = Some(timeout);
        self
    }

    /// Sets `healthCheckNodePort`.
    #[must_use]
    pub fn health_check_node_port(mut self, port: u16) -> Self {
        self.0.health_check_node_port = Some(port);
        self
    }

    /// Sets the creation time, in seconds since the epoch.
    #[must_use]
    pub fn created(mut self, seconds: u64) -> Self {
        self.0.created = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        self
    }

    /// The Service.
    pub fn build(self) -> Service {
        self.0
    }

    /// The event that it exists.
    pub fn applied(self) -> Event {
        Event::Service(Change::Applied(self.0))
    }
}

/// An EndpointSlice in the making.
#[derive(Debug, Clone)]
pub struct SliceBuilder(EndpointSlice);

/// A slice called `namespace/name` of Service `service`; its family is that of its first endpoint, IPv4 with none.
pub fn slice(name: &str, service: &str) -> SliceBuilder {
    SliceBuilder(EndpointSlice {
        name: object_name(name),
        service: service.into(),
        family: IpFamily::V4,
        ports: Vec::new(),
        endpoints: Vec::new(),
        trigger_time: None,
    })
}

impl SliceBuilder {
    /// Adds a port.
    #[must_use]
    pub fn port(mut self, name: &str, protocol: Protocol, port: u16) -> Self {
        self.0.ports.push(SlicePort { name: name.into(), protocol, port });
        self
    }

    /// Adds a ready endpoint on `node`.
    #[must_use]
    pub fn on(self, node: &str, address: &str) -> Self {
        self.endpoint(address, Some(node), Conditions::READY)
    }

    /// Adds a ready endpoint that may be anywhere.
    #[must_use]
    pub fn anywhere(self, address: &str) -> Self {
        self.endpoint(address, None, Conditions::READY)
    }

    /// Adds an endpoint with all its properties.
    #[must_use]
    pub fn endpoint(mut self, address: &str, node: Option<&str>, conditions: Conditions) -> Self {
        let address = ip(address);
        self.0.family = IpFamily::of(address);
        let node = node.map(Into::into);
        self.0.endpoints.push(SliceEndpoint { address, conditions, node, hints: None });
        self
    }

    /// Hints that the endpoint added last is meant for these zones and nodes.
    #[must_use]
    pub fn hinted(mut self, zones: &[&str], nodes: &[&str]) -> Self {
        let names = |texts: &[&str]| texts.iter().map(|text| Name::from(*text)).collect();
        if let Some(endpoint) = self.0.endpoints.last_mut() {
            endpoint.hints = Some(Arc::new(Hints { zones: names(zones), nodes: names(nodes) }));
        }
        self
    }

    /// Sets the family of a slice without endpoints.
    #[must_use]
    pub fn family(mut self, family: IpFamily) -> Self {
        self.0.family = family;
        self
    }

    /// Sets the trigger time, in seconds since the epoch.
    #[must_use]
    pub fn triggered(mut self, seconds: u64) -> Self {
        self.0.trigger_time = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        self
    }

    /// The slice.
    pub fn build(self) -> EndpointSlice {
        self.0
    }

    /// The event that it exists.
    pub fn applied(self) -> Event {
        Event::EndpointSlice(Change::Applied(self.0))
    }
}

/// A Node with these addresses.
pub fn node(name: &str, addresses: &[&str]) -> Node {
    let addresses = addresses.iter().map(|text| ip(text)).collect();
    Node { name: name.into(), addresses, pod_cidrs: Vec::new(), zone: None, leaving: false }
}

/// The event that a ServiceCIDR exists.
///
/// # Panics
/// One of the texts is no CIDR.
pub fn service_cidr(name: &str, cidrs: &[&str]) -> Event {
    let parse =
        |text: &&str| portolan_core::address::parse_cidr(text).unwrap_or_else(|error| panic!("{error}"));
    let cidrs = cidrs.iter().map(parse).collect();
    Event::ServiceCidr(Change::Applied(ServiceCidr { name: name.into(), cidrs }))
}

/// The events that complete the initial lists, with nothing in them.
pub fn empty_lists() -> [Event; 3] {
    [
        Event::Service(Change::Replaced(Vec::new())),
        Event::EndpointSlice(Change::Replaced(Vec::new())),
        Event::Node(Change::Replaced(Vec::new())),
    ]
}
