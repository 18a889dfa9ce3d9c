//! Objects of a random world as an API server stores them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portolan_core::IpFamily;
use portolan_core::event::{
    EndpointSlice, Node, Object, Service, ServiceCidr, ServiceType, SliceEndpoint, TrafficPolicy,
};
use portolan_core::name::ObjectName;
use serde_json::{Value, json};

fn metadata(name: &ObjectName) -> Value {
    json!({"namespace": &*name.namespace, "name": &*name.name})
}

pub(super) fn service(service: &Service) -> Value {
    let mut metadata = metadata(&service.name);
    if let Some(created) = service.created {
        metadata["creationTimestamp"] = json!(timestamp(created));
    }
    let cluster_ips = service.cluster_ips.iter().filter_map(|(family, ip)| Some((family, (*ip)?)));
    let (families, ips): (Vec<_>, Vec<_>) =
        cluster_ips.map(|(family, ip)| (family.to_string(), ip.to_string())).unzip();
    let policy = |policy| if policy == TrafficPolicy::Local { "Local" } else { "Cluster" };
    let ports: Vec<_> = service
        .ports
        .iter()
        .map(|port| {
            json!({
                "name": &*port.name, "protocol": port.protocol.to_string().to_uppercase(), "port": port.port,
                "nodePort": port.node_port.unwrap_or(0),
            })
        })
        .collect();
    let ingress: Vec<_> =
        service.load_balancer_ips.iter().map(|ip| json!({"ip": ip, "ipMode": "VIP"})).collect();
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata,
        "spec": {
            "type": match service.service_type {
                ServiceType::ClusterIp => "ClusterIP",
                ServiceType::NodePort => "NodePort",
                ServiceType::LoadBalancer => "LoadBalancer",
            },
            "clusterIP": ips.first().map_or("None", String::as_str),
            "clusterIPs": ips, "ipFamilies": families, "ports": ports,
            "externalIPs": service.external_ips,
            "loadBalancerSourceRanges": texts(&service.load_balancer_source_ranges),
            "internalTrafficPolicy": policy(service.internal_traffic_policy),
            "externalTrafficPolicy": policy(service.external_traffic_policy),
            "healthCheckNodePort": service.health_check_node_port.unwrap_or(0),
            "sessionAffinity": if service.session_affinity.is_some() { "ClientIP" } else { "None" },
            "sessionAffinityConfig": service.session_affinity.map(
                |timeout| json!({"clientIP": {"timeoutSeconds": timeout.as_secs()}}),
            ),
        },
        "status": {"loadBalancer": {"ingress": ingress}},
    })
}

pub(super) fn slice(slice: &EndpointSlice) -> Value {
    let mut metadata = metadata(&slice.name);
    metadata["labels"] = json!({"kubernetes.io/service-name": &*slice.service});
    if let Some(time) = slice.trigger_time {
        metadata["annotations"] =
            json!({"endpoints.kubernetes.io/last-change-trigger-time": timestamp(time)});
    }
    let ports: Vec<_> = slice
        .ports
        .iter()
        .map(|port| json!({"name": &*port.name, "protocol": port.protocol.to_string().to_uppercase(), "port": port.port}))
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
        "addressType": slice.family.to_string(), "ports": ports,
        "endpoints": slice.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
    })
}

fn endpoint(endpoint: &SliceEndpoint) -> Value {
    let conditions = endpoint.conditions;
    let names = |names: &[portolan_core::name::Name]| {
        names.iter().map(|name| json!({"name": &**name})).collect::<Vec<_>>()
    };
    json!({
        "addresses": [endpoint.address],
        "conditions": {
            "ready": conditions.ready, "serving": conditions.serving, "terminating": conditions.terminating,
        },
        "nodeName": endpoint.node.as_deref(),
        "hints": endpoint.hints.as_ref().map(
            |hints| json!({"forZones": names(&hints.zones), "forNodes": names(&hints.nodes)}),
        ),
    })
}

/// The Node with the addresses that the namespace has, whatever the random one says: a proxy takes its
/// addresses from the host.
pub(super) fn node(node: &Node, addresses: &[String]) -> Value {
    let addresses: Vec<_> =
        addresses.iter().map(|address| json!({"type": "InternalIP", "address": address})).collect();
    let taint = json!({"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"});
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": &*node.name,
            "labels": {"topology.kubernetes.io/zone": node.zone.as_deref().unwrap_or_default()},
        },
        "spec": {
            "podCIDRs": texts(&node.pod_cidrs),
            "taints": node.leaving.then_some(taint).into_iter().collect::<Vec<_>>(),
        },
        "status": {"addresses": addresses},
    })
}

pub(super) fn service_cidr(cidr: &ServiceCidr) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": &**cidr.key()},
        "spec": {"cidrs": texts(&cidr.cidrs)},
    })
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(T::to_string).collect()
}

/// RFC 3339. Random worlds count seconds from the epoch and stay within its first day.
fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    assert!(seconds < 86_400, "{seconds}");
    format!("1970-01-01T{:02}:{:02}:{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// A Service that no random event touches, with one endpoint of each family.
pub(super) fn steady(
    number: u16,
    cluster_ips: &[String; 2],
    endpoints: [String; 2],
    ports: (u16, u16),
) -> Vec<Value> {
    let name = format!("steady-{number}");
    let mut objects = vec![json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "steady", "name": name},
        "spec": {
            "type": "ClusterIP", "clusterIP": cluster_ips[0], "clusterIPs": cluster_ips,
            "ipFamilies": ["IPv4", "IPv6"],
            "ports": [{"name": "http", "protocol": "TCP", "port": ports.0}],
        },
    })];
    objects.extend(IpFamily::ALL.iter().zip(endpoints).map(|(family, address)| {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "namespace": "steady", "name": format!("{name}-{}", family.to_string().to_lowercase()),
                "labels": {"kubernetes.io/service-name": name},
            },
            "addressType": family.to_string(),
            "ports": [{"name": "http", "protocol": "TCP", "port": ports.1}],
            "endpoints": [{"addresses": [address], "nodeName": "n1", "conditions": {"ready": true}}],
        })
    }));
    objects
}
