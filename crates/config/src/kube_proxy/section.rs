//! The section of the file in effect: `iptables`, `ipvs` or `nftables`.
//!
//! Always holds: the requested mode selects it, never the mode that then runs. So a cluster that requests none keeps
//! the node ports and the masquerading that it had with kube-proxy, and a fallback changes nothing but the mode.

use portolan_core::ProxyMode;

use super::{KubeProxyConfiguration, defaults};
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

/// References to the settings that all sections have.
pub(crate) struct SharedMut<'a> {
    pub(crate) sync_period: &'a mut GoDuration,
    pub(crate) min_sync_period: &'a mut GoDuration,
    pub(crate) masquerade_all: &'a mut bool,
    pub(crate) masquerade_bit: &'a mut Option<i32>,
}

impl KubeProxyConfiguration {
    /// The section in effect.
    pub(crate) fn section(&self) -> Section {
        Section::of(&self.mode)
    }

    /// The settings that all sections have, from the section in effect.
    pub(crate) fn shared(&self) -> Shared {
        let mut config = self.clone();
        let SharedMut { sync_period, min_sync_period, masquerade_all, masquerade_bit } =
            config.shared_mut(self.section());
        Shared {
            sync_period: *sync_period,
            min_sync_period: *min_sync_period,
            masquerade_all: *masquerade_all,
            masquerade_bit: masquerade_bit.unwrap_or(defaults::MASQUERADE_BIT),
        }
    }

    /// References into `section`.
    pub(crate) fn shared_mut(&mut self, section: Section) -> SharedMut<'_> {
        let (sync_period, min_sync_period) = match section {
            Section::Ipvs => (&mut self.ipvs.sync_period, &mut self.ipvs.min_sync_period),
            Section::Iptables => (&mut self.iptables.sync_period, &mut self.iptables.min_sync_period),
            Section::Nftables => (&mut self.nftables.sync_period, &mut self.nftables.min_sync_period),
        };
        let (masquerade_all, masquerade_bit) = match section {
            Section::Nftables => (&mut self.nftables.masquerade_all, &mut self.nftables.masquerade_bit),
            _ => (&mut self.iptables.masquerade_all, &mut self.iptables.masquerade_bit),
        };
        SharedMut { sync_period, min_sync_period, masquerade_all, masquerade_bit }
    }

    /// The default of each field.
    pub(crate) fn with_defaults() -> Self {
        let mut config = Self::default();
        defaults::fill(&mut config);
        config
    }
}
