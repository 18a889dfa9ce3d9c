//! The effective configuration, and how it is written: `--write-config-to` and `/configz` show it, and reloads compare it.
//!
//! As in kube-proxy, the sections of other modes have no periods and do not masquerade, and defaults of modes are filled
//! in. Addresses are canonical, because other readers take `010.0.0.1` for octal. `mode` is shown as requested: an empty
//! one means more than `iptables` to Portolan, and `iptables` to kube-proxy.

use std::net::Ipv4Addr;

use portolan_core::ProxyMode;
use portolan_core::address::{parse_cidr, parse_ip};
use serde::Serialize;
use serde_json::Value;

use super::section::Section;
use super::{API_VERSION, KIND, KubeProxyConfiguration};
use crate::bind;

/// Selects the node's primary IPs.
pub(crate) const PRIMARY: &str = "primary";
/// The default of `detectLocalMode`.
pub(crate) const CLUSTER_CIDR: &str = "ClusterCIDR";
/// CIDRs of all addresses.
pub(crate) const ALL_ADDRESSES: [&str; 2] = ["0.0.0.0/0", "::/0"];
/// The only key of the object at `/configz`.
const CONFIGZ_KEY: &str = "kubeproxy.config.k8s.io";

/// The file with `kind` and `apiVersion`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    kind: &'static str,
    api_version: &'static str,
    #[serde(flatten)]
    config: &'a KubeProxyConfiguration,
}

impl KubeProxyConfiguration {
    /// The effective configuration, of one that has been checked.
    pub(crate) fn effective(&self) -> Self {
        let mut config = self.clone();
        config.set_shared(self.shared());
        if config.detect_local_mode.is_empty() {
            CLUSTER_CIDR.clone_into(&mut config.detect_local_mode);
        }
        if self.section() == Section::Nftables && config.node_port_addresses.is_empty() {
            config.node_port_addresses = vec![PRIMARY.to_owned()];
        }
        config.canonicalise();
        config
    }

    /// The effective configuration while `running` is the mode, with the settings in the section of that mode.
    pub(crate) fn effective_in(&self, running: &ProxyMode) -> Self {
        let mut config = self.clone();
        running.as_str().clone_into(&mut config.mode);
        config.set_shared(self.shared());
        if self.node_port_addresses.is_empty() {
            config.node_port_addresses = match (self.section(), config.section()) {
                // An unset list means the node ports of the requested mode, which may differ from this one.
                (Section::Nftables, _) => vec![PRIMARY.to_owned()],
                (_, Section::Nftables) => ALL_ADDRESSES.map(str::to_owned).to_vec(),
                _ => Vec::new(),
            };
        }
        config.effective()
    }

    /// The fields as JSON.
    pub(crate) fn to_json(&self) -> Value {
        // String keys and plain values always have a JSON form, and a YAML form.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// The configuration as a file, with its keys in alphabetical order.
    pub(crate) fn to_yaml(&self) -> String {
        let mut document = serde_json::to_value(self.document()).unwrap_or_default();
        document.sort_all_objects();
        let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
        let yaml = serde_saphyr::to_string_with_options(&document, options).unwrap_or_default();
        // By the letter of YAML 1.1 an IPv4 address is a float; kube-proxy's writer does not quote it.
        match self.bind_address.parse::<Ipv4Addr>() {
            Ok(ip) => yaml.replacen(&format!("bindAddress: \"{ip}\""), &format!("bindAddress: {ip}"), 1),
            Err(_) => yaml,
        }
    }

    /// The object at `/configz`, its fields in the order of the file.
    pub(crate) fn to_configz(&self) -> String {
        let body = serde_json::to_string(&self.document()).unwrap_or_default();
        format!("{{\"{CONFIGZ_KEY}\":{body}}}")
    }

    fn document(&self) -> Document<'_> {
        Document { kind: KIND, api_version: API_VERSION, config: self }
    }

    fn canonicalise(&mut self) {
        if let Ok(ip) = parse_ip(&self.bind_address) {
            self.bind_address = ip.to_string();
        }
        for address in [&mut self.healthz_bind_address, &mut self.metrics_bind_address] {
            if let Ok(parsed) = bind::parse(address) {
                *address = parsed.to_string();
            }
        }
        let canonical =
            |text: &str| parse_cidr(text).map_or_else(|_word| text.to_owned(), |net| net.to_string());
        for list in [&mut self.node_port_addresses, &mut self.ipvs.exclude_cidrs] {
            for item in list {
                *item = canonical(item);
            }
        }
        self.cluster_cidr = self.cluster_cidr.split(',').map(canonical).collect::<Vec<_>>().join(",");
    }
}
