//! `v1` Service.

use serde::Deserialize;

use super::{Meta, Text, nullable};

#[derive(Debug, Deserialize)]
pub(crate) struct Service<'a> {
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) metadata: Meta<'a>,
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) spec: Spec<'a>,
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) status: Status<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spec<'a> {
    #[serde(borrow, rename = "type")]
    pub(crate) service_type: Option<Text<'a>>,
    #[serde(borrow, rename = "clusterIP")]
    pub(crate) cluster_ip: Option<Text<'a>>,
    #[serde(borrow, rename = "clusterIPs", default, deserialize_with = "nullable")]
    pub(crate) cluster_ips: Vec<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) ip_families: Vec<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) ports: Vec<ServicePort<'a>>,
    #[serde(borrow, rename = "externalIPs", default, deserialize_with = "nullable")]
    pub(crate) external_ips: Vec<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) load_balancer_source_ranges: Vec<Text<'a>>,
    #[serde(borrow)]
    pub(crate) internal_traffic_policy: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) external_traffic_policy: Option<Text<'a>>,
    pub(crate) health_check_node_port: Option<u16>,
    #[serde(borrow)]
    pub(crate) session_affinity: Option<Text<'a>>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) session_affinity_config: AffinityConfig,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServicePort<'a> {
    #[serde(borrow)]
    pub(crate) name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) protocol: Option<Text<'a>>,
    pub(crate) port: u16,
    pub(crate) node_port: Option<u16>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct AffinityConfig {
    #[serde(rename = "clientIP", default, deserialize_with = "nullable")]
    pub(crate) client_ip: ClientIp,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClientIp {
    pub(crate) timeout_seconds: Option<i32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status<'a> {
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) load_balancer: LoadBalancer<'a>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct LoadBalancer<'a> {
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) ingress: Vec<Ingress<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ingress<'a> {
    #[serde(borrow)]
    pub(crate) ip: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) ip_mode: Option<Text<'a>>,
}
