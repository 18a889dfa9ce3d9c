//! kube-proxy's configuration file, `kubeproxy.config.k8s.io/v1alpha1`, as a type.
//!
//! A file is decoded into it, and flags set its fields. Names and order of the fields are those of the file. The section
//! `userspace` is Portolan's: kube-proxy no longer has that mode, so the section is written only if it differs from the
//! defaults. A field in which absent differs from zero is an `Option`, as it is a pointer in Kubernetes; [`defaults`]
//! fills all of them.

pub(crate) mod defaults;
pub(crate) mod effective;
pub(crate) mod section;

use std::collections::BTreeMap;

use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Number;

use crate::duration::GoDuration;
use crate::quantity::Quantity;

/// `apiVersion` of the file.
pub(crate) const API_VERSION: &str = "kubeproxy.config.k8s.io/v1alpha1";
/// `kind` of the file.
pub(crate) const KIND: &str = "KubeProxyConfiguration";

/// The file without `kind` and `apiVersion`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "a mapping")]
pub(crate) struct KubeProxyConfiguration {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) feature_gates: BTreeMap<String, bool>,
    pub(crate) client_connection: ClientConnection,
    pub(crate) logging: Logging,
    pub(crate) hostname_override: String,
    pub(crate) bind_address: String,
    pub(crate) healthz_bind_address: String,
    pub(crate) metrics_bind_address: String,
    pub(crate) bind_address_hard_fail: bool,
    pub(crate) enable_profiling: bool,
    pub(crate) show_hidden_metrics_for_version: String,
    pub(crate) mode: String,
    pub(crate) iptables: Iptables,
    pub(crate) ipvs: Ipvs,
    pub(crate) nftables: Nftables,
    #[serde(skip_serializing_if = "Userspace::is_default")]
    pub(crate) userspace: Userspace,
    pub(crate) winkernel: Winkernel,
    pub(crate) detect_local_mode: String,
    pub(crate) detect_local: DetectLocal,
    #[serde(rename = "clusterCIDR")]
    pub(crate) cluster_cidr: String,
    #[serde(serialize_with = "null_if_empty")]
    pub(crate) node_port_addresses: Vec<String>,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) conntrack: Conntrack,
    pub(crate) config_sync_period: GoDuration,
    pub(crate) port_range: String,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) windows_run_as_service: bool,
}

/// `clientConnection`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "a mapping")]
pub(crate) struct ClientConnection {
    pub(crate) kubeconfig: String,
    pub(crate) accept_content_types: String,
    pub(crate) content_type: String,
    #[serde(serialize_with = "shortest")]
    pub(crate) qps: f32,
    pub(crate) burst: i32,
}

/// `logging`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "a mapping")]
pub(crate) struct Logging {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) format: String,
    // May be a number, because it is older than the rule that a duration is a string.
    #[serde(deserialize_with = "GoDuration::or_nanoseconds")]
    pub(crate) flush_frequency: GoDuration,
    pub(crate) verbosity: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) vmodule: Vec<FileVerbosity>,
    pub(crate) options: FormatOptions,
}

/// `logging.options`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "a mapping")]
pub(crate) struct FormatOptions {
    pub(crate) text: StreamOptions,
    pub(crate) json: StreamOptions,
}

/// `logging.options.text` and `.json`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "a mapping")]
pub(crate) struct StreamOptions {
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) split_stream: bool,
    pub(crate) info_buffer_size: Quantity,
}

/// One item of `logging.vmodule`: the verbosity of some files.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "a mapping")]
pub(crate) struct FileVerbosity {
    pub(crate) file_pattern: String,
    pub(crate) verbosity: u32,
}

/// `iptables`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "a mapping")]
pub(crate) struct Iptables {
    pub(crate) masquerade_bit: Option<i32>,
    pub(crate) masquerade_all: bool,
    pub(crate) localhost_node_ports: Option<bool>,
    pub(crate) sync_period: GoDuration,
    pub(crate) min_sync_period: GoDuration,
}

/// `ipvs`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "a mapping")]
pub(crate) struct Ipvs {
    pub(crate) sync_period: GoDuration,
    pub(crate) min_sync_period: GoDuration,
    pub(crate) scheduler: String,
    #[serde(rename = "excludeCIDRs", serialize_with = "null_if_empty")]
    pub(crate) exclude_cidrs: Vec<String>,
    #[serde(rename = "strictARP")]
    pub(crate) strict_arp: bool,
    pub(crate) tcp_timeout: GoDuration,
    pub(crate) tcp_fin_timeout: GoDuration,
    pub(crate) udp_timeout: GoDuration,
}

/// `nftables`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "a mapping")]
pub(crate) struct Nftables {
    pub(crate) masquerade_bit: Option<i32>,
    pub(crate) masquerade_all: bool,
    pub(crate) sync_period: GoDuration,
    pub(crate) min_sync_period: GoDuration,
}

/// `userspace`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "a mapping")]
pub(crate) struct Userspace {
    pub(crate) addresses: String,
    pub(crate) max_sessions: i32,
    pub(crate) max_sessions_per_service: i32,
    pub(crate) udp_timeout: GoDuration,
    pub(crate) udp_single_timeout: GoDuration,
}

impl Userspace {
    /// Whether all fields have their defaults.
    fn is_default(&self) -> bool {
        let mut section = Self::default();
        defaults::userspace(&mut section);
        *self == section
    }
}

/// `winkernel`, for Windows only.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "a mapping")]
pub(crate) struct Winkernel {
    pub(crate) network_name: String,
    pub(crate) source_vip: String,
    #[serde(rename = "enableDSR")]
    pub(crate) enable_dsr: bool,
    pub(crate) root_hns_endpoint_name: String,
    pub(crate) forward_health_check_vip: bool,
}

/// `detectLocal`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "a mapping")]
pub(crate) struct DetectLocal {
    pub(crate) bridge_interface: String,
    pub(crate) interface_name_prefix: String,
}

/// `conntrack`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "a mapping")]
pub(crate) struct Conntrack {
    pub(crate) max_per_core: Option<i32>,
    pub(crate) min: Option<i32>,
    pub(crate) tcp_established_timeout: Option<GoDuration>,
    pub(crate) tcp_close_wait_timeout: Option<GoDuration>,
    pub(crate) tcp_be_liberal: bool,
    pub(crate) udp_timeout: GoDuration,
    pub(crate) udp_stream_timeout: GoDuration,
}

/// Kubernetes prints an empty list as `null`.
fn null_if_empty<S: Serializer>(list: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    if list.is_empty() { serializer.serialize_none() } else { list.serialize(serializer) }
}

/// As Go writes a `float32`: 5 and not 5.0, 0.1 and not 0.10000000149011612.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn shortest<S: Serializer>(number: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    number.to_string().parse::<Number>().map_err(S::Error::custom)?.serialize(serializer)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(crate) fn is_false(value: &bool) -> bool {
    !value
}
