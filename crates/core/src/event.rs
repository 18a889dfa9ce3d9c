//! What a source tells the core: objects as the proxy sees them, already parsed.
//!
//! A source reads the Kubernetes API or files, leaves out what is not proxied
//! (headless and ExternalName Services, foreign `service-proxy-name` labels) and
//! hands on these small structs. They hold every field that any decision needs
//! and none besides.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;

use crate::address::{IpFamily, PerFamily, Protocol};
use crate::name::{Name, ObjectName};

/// One step of the stream from a source.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// About Services.
    Service(Change<Service>),
    /// About EndpointSlices.
    EndpointSlice(Change<EndpointSlice>),
    /// About this node's own Node object.
    Node(Change<Node>),
    /// About ServiceCIDRs.
    ServiceCidr(Change<ServiceCidr>),
    /// Where the source connects to the API server: all addresses that it is known by now. A source that asks none
    /// never says so.
    ApiServer(BTreeSet<SocketAddr>),
}

/// What happened to objects of one kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Change<T: Object> {
    /// The object exists and looks like this.
    Applied(T),
    /// The object is gone, or is no longer one that we proxy.
    Deleted(T::Key),
    /// These are all the objects there are. The first one completes the initial
    /// list; later ones follow a watch that was lost, and what they leave out is gone.
    Replaced(Vec<T>),
}

/// An object that has a name.
pub trait Object {
    /// What tells it apart from others of its kind.
    type Key: Clone + Eq + std::hash::Hash + Ord + std::fmt::Display + std::fmt::Debug + PartialEq;

    /// The name of this one.
    fn key(&self) -> &Self::Key;
}

/// A Service that has at least one cluster IP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Namespace and name.
    pub name: ObjectName,
    /// `metadata.creationTimestamp`; the older of two Services keeps an address that both claim.
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
    /// For `sessionAffinity: ClientIP`, how long an idle client stays with its endpoint.
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

/// Which endpoints traffic of one kind may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TrafficPolicy {
    /// All of the cluster.
    #[default]
    Cluster,
    /// Those on the node that the traffic came to.
    Local,
}

/// One entry of `spec.ports`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePortSpec {
    /// Name; empty when unset.
    pub name: Name,
    /// Protocol.
    pub protocol: Protocol,
    /// Port on the cluster IP, external IPs and load-balancer addresses.
    pub port: u16,
    /// Port on the node's own addresses, when set.
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
    /// Annotation `endpoints.kubernetes.io/last-change-trigger-time`: when the pod
    /// change happened that this slice reports.
    pub trigger_time: Option<SystemTime>,
}

impl EndpointSlice {
    /// The Service that this slice belongs to.
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
    /// Name of the Service port that this belongs to.
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
    /// What it can do.
    pub conditions: Conditions,
    /// `nodeName`, when known.
    pub node: Option<Name>,
    /// `hints`, when there are any.
    pub hints: Option<Arc<Hints>>,
}

/// `conditions` of an endpoint, with the API's meaning of an absent field filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conditions {
    /// May receive new connections; absent means yes.
    pub ready: bool,
    /// Answers, whether or not it is terminating; absent means yes.
    pub serving: bool,
    /// Its pod is being deleted; absent means no.
    pub terminating: bool,
}

impl Conditions {
    /// Ready, serving and staying.
    pub const READY: Self = Self { ready: true, serving: true, terminating: false };
}

/// `hints` of an endpoint: for whom the control plane meant it.
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
    /// Label `topology.kubernetes.io/zone`, when not empty.
    pub zone: Option<Name>,
    /// Whether the node is about to go: it has a deletion timestamp, or the
    /// taint `ToBeDeletedByClusterAutoscaler`. Load balancers should then leave it.
    pub leaving: bool,
}

impl Object for Node {
    type Key = Name;

    fn key(&self) -> &Name {
        &self.name
    }
}

/// A ServiceCIDR: addresses that cluster IPs are taken from (KEP-1880).
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
