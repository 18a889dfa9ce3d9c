//! The input of the core: changes of objects, already parsed.
//!
//! A source reads the Kubernetes API or files, leaves out what is not proxied (headless and ExternalName Services,
//! foreign `service-proxy-name` labels) and emits these small structs. They have exactly the fields that decisions
//! need.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;

use crate::address::{IpFamily, PerFamily, Protocol};
use crate::name::{Name, ObjectName};

/// One event of a source.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Services changed.
    Service(Change<Service>),
    /// EndpointSlices changed.
    EndpointSlice(Change<EndpointSlice>),
    /// This node's Node object changed.
    Node(Change<Node>),
    /// ServiceCIDRs changed.
    ServiceCidr(Change<ServiceCidr>),
    /// All currently known addresses at which the source connects to the API server. A source without API server never
    /// emits this.
    ApiServer(BTreeSet<SocketAddr>),
}

/// A change of objects of one kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Change<T: Object> {
    /// The object was created or changed.
    Applied(T),
    /// The object was deleted, or is no longer proxied.
    Deleted(T::Key),
    /// A list of all existing objects. The first is the initial list; later ones follow a lost watch, and an object
    /// that they leave out was deleted.
    Replaced(Vec<T>),
}

/// An object with a key.
pub trait Object {
    /// Identifies the object among others of its kind.
    type Key: Clone + Eq + std::hash::Hash + Ord + std::fmt::Display + std::fmt::Debug + PartialEq;

    /// The key of this object.
    fn key(&self) -> &Self::Key;
}

/// A Service that has at least one cluster IP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Namespace and name.
    pub name: ObjectName,
    /// `metadata.creationTimestamp`; the older of two Services owns an address that both name.
    pub created: Option<SystemTime>,
    /// `spec.type`.
    pub service_type: ServiceType,
    /// The cluster IP of each family that the Service has.
    pub cluster_ips: PerFamily<Option<IpAddr>>,
    /// `spec.ports`.
    pub ports: Vec<ServicePortSpec>,
    /// `spec.externalIPs`, both families.
    pub external_ips: Vec<IpAddr>,
    /// Addresses of `status.loadBalancer.ingress` whose `ipMode` is VIP, both families.
    pub load_balancer_ips: Vec<IpAddr>,
    /// `spec.loadBalancerSourceRanges`, both families.
    pub load_balancer_source_ranges: Vec<IpNet>,
    /// `spec.internalTrafficPolicy`.
    pub internal_traffic_policy: TrafficPolicy,
    /// `spec.externalTrafficPolicy`.
    pub external_traffic_policy: TrafficPolicy,
    /// `spec.healthCheckNodePort`, when set.
    pub health_check_node_port: Option<u16>,
    /// With `sessionAffinity: ClientIP`, how long after its last connection a client keeps its endpoint.
    pub session_affinity: Option<Duration>,
}

impl Object for Service {
    type Key = ObjectName;

    fn key(&self) -> &ObjectName {
        &self.name
    }
}

/// `spec.type` of a Service; ExternalName never reaches the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceType {
    /// Reachable inside the cluster.
    ClusterIp,
    /// Also on a port of every node.
    NodePort,
    /// Also through a load balancer.
    LoadBalancer,
}

/// Which endpoints internal or external traffic may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TrafficPolicy {
    /// All endpoints of the cluster.
    #[default]
    Cluster,
    /// Endpoints on the node that receives the traffic.
    Local,
}

/// One entry of `spec.ports`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePortSpec {
    /// Name; empty if unset.
    pub name: Name,
    /// Protocol.
    pub protocol: Protocol,
    /// Port on the cluster IP, external IPs and load-balancer addresses.
    pub port: u16,
    /// Port on the node's addresses, if set.
    pub node_port: Option<u16>,
}

/// One EndpointSlice whose address type is an IP family and whose service is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Namespace and name of the slice.
    pub name: ObjectName,
    /// Label `kubernetes.io/service-name`; the Service is in the slice's namespace.
    pub service: Name,
    /// `addressType`.
    pub family: IpFamily,
    /// Ports that have both a name (possibly empty) and a number.
    pub ports: Vec<SlicePort>,
    /// Endpoints that have an address.
    pub endpoints: Vec<SliceEndpoint>,
    /// Annotation `endpoints.kubernetes.io/last-change-trigger-time`: when the pod change happened that this slice
    /// reports.
    pub trigger_time: Option<SystemTime>,
}

impl EndpointSlice {
    /// The Service of this slice.
    pub fn service_name(&self) -> ObjectName {
        ObjectName { namespace: Name::clone(&self.name.namespace), name: Name::clone(&self.service) }
    }
}

impl Object for EndpointSlice {
    type Key = ObjectName;

    fn key(&self) -> &ObjectName {
        &self.name
    }
}

/// One entry of `ports` of an EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlicePort {
    /// Name of the Service port.
    pub name: Name,
    /// Protocol.
    pub protocol: Protocol,
    /// Port on the endpoint.
    pub port: u16,
}

/// One entry of `endpoints` of an EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// The first of its addresses; Kubernetes gives no meaning to others.
    pub address: IpAddr,
    /// Its conditions.
    pub conditions: Conditions,
    /// `nodeName`, if known.
    pub node: Option<Name>,
    /// `hints`, if there are any.
    pub hints: Option<Arc<Hints>>,
}

/// `conditions` of an endpoint, with the API's defaults for absent fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conditions {
    /// May receive new connections; absent means yes.
    pub ready: bool,
    /// Serves, whether or not it is terminating; absent means yes.
    pub serving: bool,
    /// Its pod is being deleted; absent means no.
    pub terminating: bool,
}

impl Conditions {
    /// Ready and serving, not terminating.
    pub const READY: Self = Self { ready: true, serving: true, terminating: false };
}

/// `hints` of an endpoint: the zones and nodes that should use it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Hints {
    /// `forZones[].name`.
    pub zones: Vec<Name>,
    /// `forNodes[].name`.
    pub nodes: Vec<Name>,
}

/// This node's Node object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Name.
    pub name: Name,
    /// InternalIPs in order, then ExternalIPs.
    pub addresses: Vec<IpAddr>,
    /// `spec.podCIDRs`.
    pub pod_cidrs: Vec<IpNet>,
    /// Label `topology.kubernetes.io/zone`, if not empty.
    pub zone: Option<Name>,
    /// Whether the node is being removed: it has a deletion timestamp, or the taint `ToBeDeletedByClusterAutoscaler`.
    /// Load balancers should then stop using it.
    pub leaving: bool,
}

impl Object for Node {
    type Key = Name;

    fn key(&self) -> &Name {
        &self.name
    }
}

/// A ServiceCIDR: ranges of cluster IPs (KEP-1880).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceCidr {
    /// Name.
    pub name: Name,
    /// `spec.cidrs`.
    pub cidrs: Vec<IpNet>,
}

impl Object for ServiceCidr {
    type Key = Name;

    fn key(&self) -> &Name {
        &self.name
    }
}
