//! `v1` Node and `networking.k8s.io/v1` ServiceCIDR.

use serde::Deserialize;

use super::{Meta, Text, nullable};

#[derive(Debug, Deserialize)]
pub(crate) struct Node<'a> {
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) metadata: Meta<'a>,
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) spec: NodeSpec<'a>,
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) status: NodeStatus<'a>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct NodeSpec<'a> {
    #[serde(borrow, rename = "podCIDR")]
    pub(crate) pod_cidr: Option<Text<'a>>,
    #[serde(borrow, rename = "podCIDRs", default, deserialize_with = "nullable")]
    pub(crate) pod_cidrs: Vec<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) taints: Vec<Taint<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Taint<'a> {
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) key: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct NodeStatus<'a> {
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) addresses: Vec<NodeAddress<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct NodeAddress<'a> {
    #[serde(borrow, rename = "type", default, deserialize_with = "nullable")]
    pub(crate) address_type: Text<'a>,
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) address: Text<'a>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ServiceCidr<'a> {
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) metadata: Meta<'a>,
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) spec: ServiceCidrSpec<'a>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct ServiceCidrSpec<'a> {
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) cidrs: Vec<Text<'a>>,
}
