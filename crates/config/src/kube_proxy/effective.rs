//! The effective configuration: `--write-config-to` and `/configz` show it, and reloads compare it.
//!
//! As in kube-proxy, the sections of other modes have no periods and do not masquerade, and defaults of modes are filled
//! in. Addresses are canonical, because other readers take `010.0.0.1` for octal. `mode` is shown as requested: an empty
//! one means more than `iptables` to Portolan, and `iptables` to kube-proxy.

use portolan_core::ProxyMode;
use portolan_core::address::{parse_cidr, parse_ip};
use serde::Serialize;

use super::section::Section;
use super::{API_VERSION, KIND, KubeProxyConfiguration};
use crate::bind;
use crate::duration::GoDuration;

/// Selects the node's primary IPs.
pub(crate) const PRIMARY: &str = "primary";
/// The default of `detectLocalMode`.
pub(crate) const CLUSTER_CIDR: &str = "ClusterCIDR";
/// CIDRs of all addresses.
pub(crate) const EVERYWHERE: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// The file with `kind` and `apiVersion`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Document<'a> {
    kind: &'static str,
    api_version: &'static str,
    #[serde(flatten)]
    config: &'a KubeProxyConfiguration,
}

impl KubeProxyConfiguration {
    /// The configuration with `kind` and `apiVersion`.
    pub(crate) fn document(&self) -> Document<'_> {
        Document { kind: KIND, api_version: API_VERSION, config: self }
    }

    /// The effective configuration, of one that has been checked.
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
        // The masquerading of ipvs is in the iptables section.
        let unused = if counts == Section::Nftables { Section::Iptables } else { Section::Nftables };
        *config.shared_mut(unused).masquerade_all = false;
        if config.detect_local_mode.is_empty() {
            CLUSTER_CIDR.clone_into(&mut config.detect_local_mode);
        }
        if counts == Section::Nftables && config.node_port_addresses.is_empty() {
            config.node_port_addresses = vec![PRIMARY.to_owned()];
        }
        config.canonicalise();
        config
    }

    /// The effective configuration while `running` is the mode, with the settings in the section of that mode.
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
                // An unset list means the node ports of the requested mode, which may differ from this one.
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
