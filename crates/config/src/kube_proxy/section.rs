//! The section of the file in effect: `iptables`, `ipvs` or `nftables`.
//!
//! Always holds: the requested mode selects it, never the mode that then runs. So a cluster that requests none keeps
//! the node ports and the masquerading that it had with kube-proxy, and a fallback changes nothing but the mode.

use portolan_core::ProxyMode;

use super::KubeProxyConfiguration;
use crate::duration::GoDuration;

/// A section with the settings of a mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// `iptables`: for that mode, `userspace`, and if no mode is requested, as in kube-proxy.
    Iptables,
    /// `ipvs`; its masquerading is in the `iptables` section, too.
    Ipvs,
    /// `nftables`: for that mode, `auto`, and modes that kube-proxy does not have.
    Nftables,
}

impl Section {
    /// The section for the requested `mode`.
    pub(crate) fn of(mode: &str) -> Self {
        if mode == ProxyMode::IPVS.as_str() {
            Self::Ipvs
        } else if mode.is_empty()
            || mode == ProxyMode::IPTABLES.as_str()
            || mode == ProxyMode::USERSPACE.as_str()
        {
            Self::Iptables
        } else {
            Self::Nftables
        }
    }
}

/// The settings that all sections have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shared {
    pub(crate) sync_period: GoDuration,
    pub(crate) min_sync_period: GoDuration,
    pub(crate) masquerade_all: bool,
    pub(crate) masquerade_bit: i32,
}

impl KubeProxyConfiguration {
    /// The section in effect.
    pub(crate) fn section(&self) -> Section {
        Section::of(&self.mode)
    }

    /// The settings that all sections have, from the section in effect.
    pub(crate) fn shared(&self) -> Shared {
        let Self { iptables, ipvs, nftables, .. } = self;
        let (sync_period, min_sync_period) = match self.section() {
            Section::Iptables => (iptables.sync_period, iptables.min_sync_period),
            Section::Ipvs => (ipvs.sync_period, ipvs.min_sync_period),
            Section::Nftables => (nftables.sync_period, nftables.min_sync_period),
        };
        let (masquerade_all, bit) = match self.section() {
            Section::Nftables => (nftables.masquerade_all, nftables.masquerade_bit),
            Section::Iptables | Section::Ipvs => (iptables.masquerade_all, iptables.masquerade_bit),
        };
        let masquerade_bit = bit.unwrap_or_default();
        Shared { sync_period, min_sync_period, masquerade_all, masquerade_bit }
    }

    /// Writes `shared` to the section in effect. The other sections then have no periods and do not masquerade.
    pub(crate) fn set_shared(&mut self, shared: Shared) {
        let section = self.section();
        let Self { iptables, ipvs, nftables, .. } = self;
        for (one, sync_period, min_sync_period) in [
            (Section::Iptables, &mut iptables.sync_period, &mut iptables.min_sync_period),
            (Section::Ipvs, &mut ipvs.sync_period, &mut ipvs.min_sync_period),
            (Section::Nftables, &mut nftables.sync_period, &mut nftables.min_sync_period),
        ] {
            let is_used = one == section;
            *sync_period = if is_used { shared.sync_period } else { GoDuration::ZERO };
            *min_sync_period = if is_used { shared.min_sync_period } else { GoDuration::ZERO };
        }
        // The masquerading of ipvs is in the iptables section.
        let is_nftables = section == Section::Nftables;
        iptables.masquerade_all = shared.masquerade_all && !is_nftables;
        nftables.masquerade_all = shared.masquerade_all && is_nftables;
        let bit = if is_nftables { &mut nftables.masquerade_bit } else { &mut iptables.masquerade_bit };
        *bit = Some(shared.masquerade_bit);
    }
}
