//! Which section of the file counts: `iptables`, `ipvs` or `nftables`.
//!
//! Always holds: it is decided by the mode that was asked for, never by the one that then runs.
//! So a cluster that asks for nothing keeps the node ports and the masquerading that it had with
//! kube-proxy, whatever this host can do, and falling back changes nothing but the mode.

use portolan_core::ProxyMode;

use super::defaults::MASQUERADE_BIT;
use super::{KubeProxyConfiguration, defaults};
use crate::duration::GoDuration;

/// A section with settings of a mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// `iptables`: for that mode, `userspace`, and when no mode is asked for, as in kube-proxy.
    Iptables,
    /// `ipvs`; masquerading is in the `iptables` section there too.
    Ipvs,
    /// `nftables`: for that mode, `auto`, and modes that kube-proxy does not have.
    Nftables,
}

impl Section {
    /// The section that counts when `mode` was asked for.
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

/// What the sections share, as the one that counts has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shared {
    pub(crate) sync_period: GoDuration,
    pub(crate) min_sync_period: GoDuration,
    pub(crate) masquerade_all: bool,
    pub(crate) masquerade_bit: i32,
}

/// Where a section keeps what all of them have.
pub(crate) struct SharedMut<'a> {
    pub(crate) sync_period: &'a mut GoDuration,
    pub(crate) min_sync_period: &'a mut GoDuration,
    pub(crate) masquerade_all: &'a mut bool,
    pub(crate) masquerade_bit: &'a mut Option<i32>,
}

impl KubeProxyConfiguration {
    /// The section that counts.
    pub(crate) fn section(&self) -> Section {
        Section::of(&self.mode)
    }

    /// What the sections share, from the one that counts.
    pub(crate) fn shared(&self) -> Shared {
        let (sync_period, min_sync_period) = match self.section() {
            Section::Iptables => (self.iptables.sync_period, self.iptables.min_sync_period),
            Section::Ipvs => (self.ipvs.sync_period, self.ipvs.min_sync_period),
            Section::Nftables => (self.nftables.sync_period, self.nftables.min_sync_period),
        };
        let (masquerade_all, bit) = match self.section() {
            Section::Nftables => (self.nftables.masquerade_all, self.nftables.masquerade_bit),
            _ => (self.iptables.masquerade_all, self.iptables.masquerade_bit),
        };
        let masquerade_bit = bit.unwrap_or(MASQUERADE_BIT);
        Shared { sync_period, min_sync_period, masquerade_all, masquerade_bit }
    }

    /// Where `section` keeps what all of them have.
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

    /// What counts where nothing was said, in each field.
    pub(crate) fn with_defaults() -> Self {
        let mut config = Self::default();
        defaults::fill(&mut config);
        config
    }
}
