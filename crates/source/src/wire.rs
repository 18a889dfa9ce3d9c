//! Kubernetes objects as they come over the wire, reduced to the fields that are used.
//!
//! The parser skips everything else without storing it: more than half of a usual EndpointSlice is `managedFields` and
//! pod references. Text without escapes is borrowed from the input buffer, because most of it becomes an address or an
//! interned name a moment later.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, Visitor};

/// Text that borrows from the input when it can.
///
/// A `Cow` inside an `Option` or a `Vec` always allocates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Text<'a>(Cow<'a, str>);

impl<'a> Text<'a> {
    pub(crate) fn into_inner(self) -> Cow<'a, str> {
        self.0
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

/// A field whose zero value stands for `null` and for absence, as in Kubernetes' own decoder.
#[derive(Debug, Default)]
pub(crate) struct OrDefault<T>(T);

impl<T> Deref for OrDefault<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for OrDefault<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(|value| Self(value.unwrap_or_default()))
    }
}

/// A list that may be `null` or absent.
type List<T> = OrDefault<Vec<T>>;

/// `metadata` of any object.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub(crate) struct Metadata<'a> {
    pub(crate) name: Option<Text<'a>>,
    pub(crate) namespace: Option<Text<'a>>,
    pub(crate) resource_version: Option<Text<'a>>,
    pub(crate) creation_timestamp: Option<Text<'a>>,
    pub(crate) deletion_timestamp: Option<IgnoredAny>,
    pub(crate) labels: OrDefault<Labels<'a>>,
    pub(crate) annotations: OrDefault<Annotations<'a>>,
}

/// The labels that a proxy uses.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(crate) struct Labels<'a> {
    /// Another proxy serves the Service, whatever the value.
    #[serde(rename = "service.kubernetes.io/service-proxy-name")]
    pub(crate) service_proxy_name: Option<IgnoredAny>,
    /// The Service of an EndpointSlice.
    #[serde(rename = "kubernetes.io/service-name")]
    pub(crate) service_name: Option<Text<'a>>,
    /// The Service of this EndpointSlice or Endpoints object has no cluster IP.
    #[serde(rename = "service.kubernetes.io/headless")]
    pub(crate) headless: Option<IgnoredAny>,
    /// Zone of a Node.
    #[serde(rename = "topology.kubernetes.io/zone")]
    pub(crate) zone: Option<Text<'a>>,
}

/// The annotations that a proxy uses.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(crate) struct Annotations<'a> {
    /// Time of the change that an EndpointSlice or Endpoints object reports.
    #[serde(rename = "endpoints.kubernetes.io/last-change-trigger-time")]
    pub(crate) trigger_time: Option<Text<'a>>,
    /// On a bookmark: the initial list of a watch ends here (KEP-3157).
    #[serde(rename = "k8s.io/initial-events-end")]
    pub(crate) initial_events_end: Option<IgnoredAny>,
}

/// An object of which only `metadata` is used.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct MetadataOnly<'a> {
    pub(crate) metadata: OrDefault<Metadata<'a>>,
}

/// `v1` Service.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct Service<'a> {
    pub(crate) metadata: OrDefault<Metadata<'a>>,
    pub(crate) spec: OrDefault<ServiceSpec<'a>>,
    pub(crate) status: OrDefault<ServiceStatus<'a>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub(crate) struct ServiceSpec<'a> {
    #[serde(rename = "type")]
    pub(crate) service_type: Option<Text<'a>>,
    #[serde(rename = "clusterIP")]
    pub(crate) cluster_ip: Option<Text<'a>>,
    #[serde(rename = "clusterIPs")]
    pub(crate) cluster_ips: List<Text<'a>>,
    pub(crate) ip_families: List<Text<'a>>,
    pub(crate) ports: List<ServicePort<'a>>,
    #[serde(rename = "externalIPs")]
    pub(crate) external_ips: List<Text<'a>>,
    pub(crate) load_balancer_source_ranges: List<Text<'a>>,
    pub(crate) internal_traffic_policy: Option<Text<'a>>,
    pub(crate) external_traffic_policy: Option<Text<'a>>,
    pub(crate) health_check_node_port: Option<u16>,
    pub(crate) session_affinity: Option<Text<'a>>,
    pub(crate) session_affinity_config: OrDefault<SessionAffinityConfig>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub(crate) struct ServicePort<'a> {
    pub(crate) name: Option<Text<'a>>,
    pub(crate) protocol: Option<Text<'a>>,
    pub(crate) port: u16,
    pub(crate) node_port: Option<u16>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct SessionAffinityConfig {
    #[serde(rename = "clientIP")]
    pub(crate) client_ip: OrDefault<ClientIpConfig>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClientIpConfig {
    pub(crate) timeout_seconds: Option<i32>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub(crate) struct ServiceStatus<'a> {
    pub(crate) load_balancer: OrDefault<LoadBalancerStatus<'a>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct LoadBalancerStatus<'a> {
    pub(crate) ingress: List<LoadBalancerIngress<'a>>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub(crate) struct LoadBalancerIngress<'a> {
    pub(crate) ip: Option<Text<'a>>,
    pub(crate) ip_mode: Option<Text<'a>>,
}

/// `discovery.k8s.io/v1` EndpointSlice.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub(crate) struct EndpointSlice<'a> {
    pub(crate) metadata: OrDefault<Metadata<'a>>,
    pub(crate) address_type: Option<Text<'a>>,
    pub(crate) ports: List<EndpointPort<'a, Option<u16>>>,
    pub(crate) endpoints: List<Endpoint<'a>>,
}

/// A port of an EndpointSlice, which may lack its number, or of an Endpoints object.
#[derive(Debug, serde::Deserialize)]
#[serde(bound(deserialize = "'de: 'a, N: Deserialize<'de>"))]
pub(crate) struct EndpointPort<'a, N> {
    pub(crate) name: Option<Text<'a>>,
    pub(crate) protocol: Option<Text<'a>>,
    pub(crate) port: N,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub(crate) struct Endpoint<'a> {
    pub(crate) addresses: List<Text<'a>>,
    pub(crate) conditions: OrDefault<EndpointConditions>,
    pub(crate) node_name: Option<Text<'a>>,
    pub(crate) hints: Option<EndpointHints<'a>>,
}

#[derive(Debug, Default, serde::Deserialize)]
pub(crate) struct EndpointConditions {
    pub(crate) ready: Option<bool>,
    pub(crate) serving: Option<bool>,
    pub(crate) terminating: Option<bool>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub(crate) struct EndpointHints<'a> {
    pub(crate) for_zones: List<Hint<'a>>,
    pub(crate) for_nodes: List<Hint<'a>>,
}

/// A zone or a node that an endpoint is meant for.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct Hint<'a> {
    pub(crate) name: OrDefault<Text<'a>>,
}

/// `v1` Endpoints, the predecessor of EndpointSlices.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct Endpoints<'a> {
    pub(crate) metadata: OrDefault<Metadata<'a>>,
    pub(crate) subsets: List<EndpointSubset<'a>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub(crate) struct EndpointSubset<'a> {
    pub(crate) addresses: List<EndpointAddress<'a>>,
    pub(crate) not_ready_addresses: List<EndpointAddress<'a>>,
    pub(crate) ports: List<EndpointPort<'a, u16>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub(crate) struct EndpointAddress<'a> {
    pub(crate) ip: OrDefault<Text<'a>>,
    pub(crate) node_name: Option<Text<'a>>,
}

/// `v1` Node.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct Node<'a> {
    pub(crate) metadata: OrDefault<Metadata<'a>>,
    pub(crate) spec: OrDefault<NodeSpec<'a>>,
    pub(crate) status: OrDefault<NodeStatus<'a>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct NodeSpec<'a> {
    #[serde(rename = "podCIDR")]
    pub(crate) pod_cidr: Option<Text<'a>>,
    #[serde(rename = "podCIDRs")]
    pub(crate) pod_cidrs: List<Text<'a>>,
    pub(crate) taints: List<Taint<'a>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct Taint<'a> {
    pub(crate) key: OrDefault<Text<'a>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct NodeStatus<'a> {
    pub(crate) addresses: List<NodeAddress<'a>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct NodeAddress<'a> {
    #[serde(rename = "type")]
    pub(crate) address_type: OrDefault<Text<'a>>,
    pub(crate) address: OrDefault<Text<'a>>,
}

/// `networking.k8s.io/v1` ServiceCIDR.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct ServiceCidr<'a> {
    pub(crate) metadata: OrDefault<Metadata<'a>>,
    pub(crate) spec: OrDefault<ServiceCidrSpec<'a>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct ServiceCidrSpec<'a> {
    pub(crate) cidrs: List<Text<'a>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_borrows_unless_it_holds_escapes() {
        let plain: Option<Text<'_>> = serde_json::from_str(r#""10.0.0.1""#).unwrap();
        assert!(matches!(plain.unwrap().0, Cow::Borrowed("10.0.0.1")));
        let escaped: Text<'_> = serde_json::from_str(r#""a\u002fb""#).unwrap();
        assert_eq!(&*escaped, "a/b");
    }

    #[test]
    fn null_labels_are_no_labels() {
        let metadata: Metadata<'_> =
            serde_json::from_str(r#"{"name":"web","labels":null,"annotations":null}"#).unwrap();
        assert!(metadata.labels.headless.is_none());
    }

    #[test]
    fn a_null_deletion_timestamp_is_none() {
        let metadata = |json| serde_json::from_str::<Metadata<'_>>(json).unwrap();
        assert!(metadata(r#"{"deletionTimestamp":null}"#).deletion_timestamp.is_none());
        let deleted = r#"{"deletionTimestamp":"2026-11-21T02:05:26Z"}"#;
        assert!(metadata(deleted).deletion_timestamp.is_some());
    }
}
