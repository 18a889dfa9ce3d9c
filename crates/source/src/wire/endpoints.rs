//! `discovery.k8s.io/v1` EndpointSlice, and the `v1` Endpoints that came before it.

use serde::Deserialize;

use super::{Meta, Text, nullable};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointSlice<'a> {
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) metadata: Meta<'a>,
    #[serde(borrow)]
    pub(crate) address_type: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) ports: Vec<SlicePort<'a>>,
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) endpoints: Vec<Endpoint<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SlicePort<'a> {
    #[serde(borrow)]
    pub(crate) name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) protocol: Option<Text<'a>>,
    pub(crate) port: Option<u16>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Endpoint<'a> {
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) addresses: Vec<Text<'a>>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) conditions: Conditions,
    #[serde(borrow)]
    pub(crate) node_name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) hints: Option<Hints<'a>>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Conditions {
    pub(crate) ready: Option<bool>,
    pub(crate) serving: Option<bool>,
    pub(crate) terminating: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Hints<'a> {
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) for_zones: Vec<ForName<'a>>,
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) for_nodes: Vec<ForName<'a>>,
}

/// One zone or node that an endpoint is meant for.
#[derive(Debug, Deserialize)]
pub(crate) struct ForName<'a> {
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) name: Text<'a>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Endpoints<'a> {
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) metadata: Meta<'a>,
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) subsets: Vec<Subset<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Subset<'a> {
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) addresses: Vec<SubsetAddress<'a>>,
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) not_ready_addresses: Vec<SubsetAddress<'a>>,
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) ports: Vec<SubsetPort<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SubsetAddress<'a> {
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) ip: Text<'a>,
    #[serde(borrow)]
    pub(crate) node_name: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SubsetPort<'a> {
    #[serde(borrow)]
    pub(crate) name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) protocol: Option<Text<'a>>,
    pub(crate) port: u16,
}
