//! The configuration in force: what `--write-config-to` and `/configz` show, and what two
//! configurations are compared by.
//!
//! As kube-proxy shows it: sections of other modes have no periods and do not masquerade, words that
//! stand for nothing said are put in, and addresses stand in their one canonical form, because
//! other readers take `010.0.0.1` for octal. `mode` is shown as it was asked for: an empty one
//! means more here than `iptables`, and means that to kube-proxy.

use portolan_core::ProxyMode;
use portolan_core::address::{parse_cidr, parse_ip};
use serde::Serialize;

use super::section::Section;
use super::{API_VERSION, KIND, KubeProxyConfiguration};
use crate::bind;
use crate::duration::GoDuration;

/// The word for the node's own addresses.
pub(crate) const PRIMARY: &str = "primary";
/// `detectLocalMode` when nothing is said.
pub(crate) const CLUSTER_CIDR: &str = "ClusterCIDR";
/// Ranges that all addresses are in.
pub(crate) const EVERYWHERE: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// The file as a whole.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Document<'a> {
    kind: &'static str,
    api_version: &'static str,
    #[serde(flatten)]
    config: &'a KubeProxyConfiguration,
}

impl KubeProxyConfiguration {
    /// The configuration with the fields that say what it is.
    pub(crate) fn document(&self) -> Document<'_> {
        Document { kind: KIND, api_version: API_VERSION, config: self }
    }

    /// What is in force, of a configuration that has been checked.
    pub(crate) fn effective(&self) -> Self {
        let mut config = self.clone();
        let counts = self.section();
        for section in [Section::Iptables, Section::Ipvs, Section::Nftables] {
            if section != counts {
                let shared = config.shared_mut(section);
                *shared.sync_period = GoDuration::ZERO;
                *shared.min_sync_period = GoDuration::ZERO;
            }
        }
        // ipvs has its masquerading in the iptables section.
        let silent = if counts == Section::Nftables { Section::Iptables } else { Section::Nftables };
        *config.shared_mut(silent).masquerade_all = false;
        if config.detect_local_mode.is_empty() {
            CLUSTER_CIDR.clone_into(&mut config.detect_local_mode);
        }
        if counts == Section::Nftables && config.node_port_addresses.is_empty() {
            config.node_port_addresses = vec![PRIMARY.to_owned()];
        }
        config.canonicalise();
        config
    }

    /// What is in force while `running` is the mode, so that the section of that mode says it.
    pub(crate) fn effective_in(&self, running: &ProxyMode) -> Self {
        let mut config = self.clone();
        let shared = self.shared();
        running.as_str().clone_into(&mut config.mode);
        let section = config.section();
        let target = config.shared_mut(section);
        *target.sync_period = shared.sync_period;
        *target.min_sync_period = shared.min_sync_period;
        *target.masquerade_all = shared.masquerade_all;
        *target.masquerade_bit = Some(shared.masquerade_bit);
        if self.node_port_addresses.is_empty() {
            config.node_port_addresses = match (self.section(), section) {
                // What an unset list means to the mode that was asked for is not what it means to the other.
                (Section::Nftables, _) => vec![PRIMARY.to_owned()],
                (_, Section::Nftables) => EVERYWHERE.map(str::to_owned).to_vec(),
                _ => Vec::new(),
            };
        }
        config.effective()
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
