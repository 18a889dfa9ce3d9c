//! Objects as a real API server sends them, for clusters of any size.
//!
//! What a proxy does not read is there anyway (managed fields, owners, pods' names and uids), because
//! it is most of the bytes that a proxy gets, and reading past it is most of the work of a first load.
//!
//! No pod is on the node that the proxy runs on: such a pod needs one more element, and what a change writes
//! could not be told exactly.
//!
//! Always holds: the endpoints of Service `number` in a cluster of `each` endpoints per Service are those
//! numbered from `number * each`, and addresses from [`Size::fresh`] on are unused.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

/// Endpoints that a slice holds at most, the EndpointSlice controller's default.
pub(crate) const PER_SLICE: u32 = 100;
/// The port that VIPs answer on.
pub(crate) const PORT: u16 = 80;
/// The port that pods answer on.
pub(crate) const POD_PORT: u16 = 8080;
/// All pods' addresses.
pub(crate) const PODS: &str = "10.128.0.0/9";
/// All VIPs.
pub(crate) const VIPS: &str = "10.96.0.0/12";

/// How large a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) services: u32,
    /// Endpoints of each Service.
    pub(crate) each: u32,
}

impl Size {
    pub(crate) const fn new(services: u32, each: u32) -> Self {
        Self { services, each }
    }

    /// Endpoints of all Services together.
    pub(crate) fn endpoints(self) -> u32 {
        self.services * self.each
    }

    /// An address that no endpoint has.
    pub(crate) fn fresh(self, index: u32) -> Ipv4Addr {
        pod(self.endpoints() + index)
    }

    /// All objects of the cluster, with the node that the proxy runs on.
    pub(crate) fn objects(self) -> impl Iterator<Item = Value> {
        std::iter::once(node()).chain((0..self.services).flat_map(move |number| self.of_service(number)))
    }

    /// One Service and its slices.
    pub(crate) fn of_service(self, number: u32) -> impl Iterator<Item = Value> {
        std::iter::once(service(number)).chain(self.slices(number))
    }

    /// The slices of one Service.
    pub(crate) fn slices(self, number: u32) -> impl Iterator<Item = Value> {
        let first = number * self.each;
        let starts = (0..self.each).step_by(PER_SLICE as usize);
        starts.zip(0..).map(move |(start, part)| {
            let end = (start + PER_SLICE).min(self.each);
            slice(number, part, (first + start..first + end).map(pod))
        })
    }

    /// The first slice of a Service with its first endpoint exchanged.
    pub(crate) fn replaced(self, number: u32, by: Ipv4Addr) -> Value {
        let first = number * self.each;
        let end = first + self.each.min(PER_SLICE);
        slice(number, 0, std::iter::once(by).chain((first + 1..end).map(pod)))
    }
}

/// The `index`th pod's address.
pub(crate) fn pod(index: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 128, 0, 1)) + index)
}

/// The `number`th Service's cluster IP.
pub(crate) fn vip(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 96, 0, 1)) + number)
}

/// The `number`th Service's name.
pub(crate) fn name(number: u32) -> String {
    format!("service-{number}")
}

/// The namespace that everything is in.
pub(crate) const NAMESPACE: &str = "bench";

/// A uid as objects have them, the same for the same object.
fn uid(kind: u32, number: u32) -> String {
    format!("{kind:08x}-5d2f-4f0e-9a41-{number:012x}")
}

/// The node that the proxy runs on.
fn node() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "node1", "uid": uid(1, 0), "labels": {"topology.kubernetes.io/zone": "zone-a"}},
        "spec": {"podCIDR": "10.128.0.0/24", "podCIDRs": ["10.128.0.0/24"]},
        "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]},
    })
}

/// The `number`th Service, with one port and a cluster IP.
pub(crate) fn service(number: u32) -> Value {
    let (name, ip) = (name(number), vip(number).to_string());
    let applied = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"annotations": {}, "labels": {"app": name}, "name": name, "namespace": NAMESPACE},
        "spec": {"ports": [{"name": "http", "port": PORT, "targetPort": POD_PORT}], "selector": {"app": name}},
    });
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": name, "namespace": NAMESPACE, "uid": uid(2, number),
            "creationTimestamp": "2026-11-21T02:30:21Z", "labels": {"app": name},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": applied.to_string()},
            "managedFields": [{
                "manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "v1",
                "time": "2026-11-21T02:30:21Z", "fieldsType": "FieldsV1",
                "fieldsV1": {
                    "f:metadata": {
                        "f:annotations": {".": {}, "f:kubectl.kubernetes.io/last-applied-configuration": {}},
                        "f:labels": {".": {}, "f:app": {}},
                    },
                    "f:spec": {
                        "f:internalTrafficPolicy": {},
                        "f:ports": {".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": {
                            ".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {},
                        }},
                        "f:selector": {}, "f:sessionAffinity": {}, "f:type": {},
                    },
                },
            }],
        },
        "spec": {
            "ports": [{"name": "http", "protocol": "TCP", "port": PORT, "targetPort": POD_PORT}],
            "selector": {"app": name}, "clusterIP": ip, "clusterIPs": [ip], "type": "ClusterIP",
            "sessionAffinity": "None", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
        },
        "status": {"loadBalancer": {}},
    })
}

/// The same Service with clients that come back to their endpoint, remembered for Kubernetes' default time.
pub(crate) fn with_affinity(mut service: Value) -> Value {
    service["spec"]["sessionAffinity"] = "ClientIP".into();
    service["spec"]["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": 10_800}});
    service
}

/// A slice of a Service with these endpoints, all ready and on nodes here and there.
pub(crate) fn slice(number: u32, part: u32, addresses: impl Iterator<Item = Ipv4Addr>) -> Value {
    let service = name(number);
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": slice_name(number, part), "generateName": format!("{service}-"), "namespace": NAMESPACE,
            "uid": uid(3 + part, number), "generation": 3, "creationTimestamp": "2026-11-21T02:30:21Z",
            "labels": {
                "app": service, "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                "kubernetes.io/service-name": service,
            },
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Service", "name": service, "uid": uid(2, number),
                "controller": true, "blockOwnerDeletion": true,
            }],
            "managedFields": [{
                "manager": "kube-controller-manager", "operation": "Update",
                "apiVersion": "discovery.k8s.io/v1", "time": "2026-11-21T02:30:25Z", "fieldsType": "FieldsV1",
                "fieldsV1": {
                    "f:addressType": {}, "f:endpoints": {}, "f:ports": {},
                    "f:metadata": {
                        "f:annotations": {".": {}, "f:endpoints.kubernetes.io/last-change-trigger-time": {}},
                        "f:generateName": {},
                        "f:labels": {
                            ".": {}, "f:app": {}, "f:endpointslice.kubernetes.io/managed-by": {},
                            "f:kubernetes.io/service-name": {},
                        },
                        "f:ownerReferences": {".": {}, "k:{\"uid\":\"00000002\"}": {}},
                    },
                },
            }],
        },
        "addressType": "IPv4",
        "endpoints": addresses.map(endpoint).collect::<Vec<_>>(),
        "ports": [{"name": "http", "protocol": "TCP", "port": POD_PORT}],
    })
}

/// The name of a Service's slice.
pub(crate) fn slice_name(number: u32, part: u32) -> String {
    format!("{}-{part}", name(number))
}

fn endpoint(address: Ipv4Addr) -> Value {
    let number = u32::from(address);
    let zone = ["zone-a", "zone-b", "zone-c"][number as usize % 3];
    json!({
        "addresses": [address.to_string()],
        "conditions": {"ready": true, "serving": true, "terminating": false},
        "nodeName": format!("node{}", number % 100 + 2), "zone": zone,
        "targetRef": {
            "kind": "Pod", "namespace": NAMESPACE, "name": format!("pod-6d4cf56db6-{number:x}"),
            "uid": uid(9, number),
        },
    })
}

/// Says in a slice when what it tells of happened, as the EndpointSlice controller does for the proxies'
/// metric of how long that took.
pub(crate) fn triggered_now(mut slice: Value) -> Value {
    let now = jiff::Timestamp::now().to_string();
    slice["metadata"]["annotations"] = json!({"endpoints.kubernetes.io/last-change-trigger-time": now});
    slice
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(slice: &Value) -> Vec<&str> {
        let endpoints = slice["endpoints"].as_array().unwrap();
        endpoints.iter().map(|endpoint| endpoint["addresses"][0].as_str().unwrap()).collect()
    }

    #[test]
    fn large_services_have_several_slices_that_share_no_address() {
        let slices: Vec<Value> = Size::new(3, 250).slices(2).collect();
        let lengths: Vec<usize> = slices.iter().map(|slice| addresses(slice).len()).collect();
        assert_eq!(lengths, [100, 100, 50]);
        assert_eq!(addresses(&slices[0])[0], pod(500).to_string());
        assert_eq!(addresses(&slices[2])[49], pod(749).to_string());
    }

    #[test]
    fn one_endpoint_is_replaced_by_an_unused_one() {
        let size = Size::new(3, 2);
        let slice = size.replaced(1, size.fresh(0));
        assert_eq!(addresses(&slice), [pod(6).to_string(), pod(3).to_string()]);
    }

    #[test]
    fn a_cluster_is_a_node_and_each_services_objects() {
        assert_eq!(Size::new(3, 101).objects().count(), 1 + 3 * 3);
    }
}
