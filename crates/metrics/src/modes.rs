//! Metrics of the proxy mode that runs, of its iptables rules, and of stale rules of other modes.

use prometheus::{GaugeVec, IntCounterVec, Registry};

use crate::definition::{ExternalCounter, Labels, MetricsError, count, number, raise};
use crate::sync::IP_FAMILY;

/// Metrics of the mode that runs and of its selection.
#[derive(Clone, Debug)]
pub struct ModeMetrics {
    selected: GaugeVec,
    fallbacks: IntCounterVec,
    current: GaugeVec,
    total: IntCounterVec,
}

impl ModeMetrics {
    pub(crate) fn define(registry: &Registry) -> Result<Self, MetricsError> {
        let what = Labels::new(registry, &["what"]);
        Ok(Self {
            selected: Labels::new(registry, &["mode"]).gauges(
                "portolan_proxy_mode",
                "The mode that runs, whether or not its rules are programmed; the value is always 1",
            )?,
            fallbacks: Labels::new(registry, &["from", "to"]).counters(
                "portolan_mode_fallbacks_total",
                "Modes that this host does not support, with the mode that runs instead",
            )?,
            current: what.gauges(
                "portolan_mode_current",
                "Current value of a gauge of the mode, such as sessions of the userspace mode",
            )?,
            total: what.counters(
                "portolan_mode_total",
                "Value of a counter of the mode, such as sessions of the userspace mode that no endpoint accepted",
            )?,
        })
    }

    /// This mode runs, and no other.
    pub fn selected(&self, mode: &str) {
        self.selected.reset();
        self.selected.with_label_values(&[mode]).set(1.0);
    }

    /// A gauge of the mode has this value.
    pub fn current(&self, what: &str, value: u64) {
        self.current.with_label_values(&[what]).set(number(usize::try_from(value).unwrap_or(usize::MAX)));
    }

    /// A counter of the mode has this value.
    pub fn total(&self, what: &str, value: u64) {
        raise(&self.total.with_label_values(&[what]), value);
    }

    /// The host does not support `from`; `to` runs instead.
    pub fn fell_back(&self, from: &str, to: &str) {
        self.fallbacks.with_label_values(&[from, to]).inc();
    }
}

/// Metrics of stale rules: those of other modes and of kube-proxy on this node.
#[derive(Clone, Debug)]
pub struct LeftoverMetrics {
    removed: IntCounterVec,
    failures: IntCounterVec,
    foreign: GaugeVec,
}

impl LeftoverMetrics {
    pub(crate) fn define(registry: &Registry) -> Result<Self, MetricsError> {
        let of = Labels::new(registry, &["of"]);
        Ok(Self {
            removed: of.counters(
                "portolan_leftovers_removed_total",
                "Stale kernel objects of other modes that were removed, by mode",
            )?,
            failures: of.counters(
                "portolan_leftovers_failures_total",
                "Failed attempts to remove stale rules, by mode; a mode that cannot be inspected is not counted",
            )?,
            foreign: Labels::new(registry, &["of", "ip_family"]).gauges(
                "portolan_foreign_proxy_rules",
                "1 if another proxy, such as kube-proxy, has rules on this node while Portolan's are programmed, by mode",
            )?,
        })
    }

    /// This many objects of the mode `of` were removed; 0 makes the series appear.
    pub fn removed(&self, of: &str, objects: usize) {
        self.removed.with_label_values(&[of]).inc_by(count(objects));
        self.failures.with_label_values(&[of]).inc_by(0);
    }

    /// Not all objects of the mode `of` could be removed.
    pub fn failed(&self, of: &str) {
        self.failures.with_label_values(&[of]).inc();
    }

    /// Whether another proxy has rules of the mode `of`.
    pub fn foreign(&self, of: &str, family: &str, is_there: bool) {
        self.foreign.with_label_values(&[of, family]).set(f64::from(u8::from(is_there)));
    }
}

/// Metrics of the iptables mode and of the iptables rules of the ipvs mode, absent in any other mode. `family` is
/// `IPv4` or `IPv6`.
#[derive(Clone, Debug)]
pub struct IptablesMetrics {
    rules: GaugeVec,
    last: GaugeVec,
    restore_failures: IntCounterVec,
    partial_restore_failures: IntCounterVec,
    invalid_dropped: ExternalCounter,
    localhost_accepted: ExternalCounter,
}

impl IptablesMetrics {
    pub(crate) fn define(registry: &Registry) -> Result<Self, MetricsError> {
        let table = Labels::new(registry, &["table", "ip_family"]);
        let family = Labels::new(registry, IP_FAMILY);
        let none = Labels::new(registry, &[]);
        Ok(Self {
            rules: table.gauges(
                "kubeproxy_sync_proxy_rules_iptables_total",
                "Rules in the chains of the proxy, by table (filter, nat)",
            )?,
            last: table.gauges(
                "kubeproxy_sync_proxy_rules_iptables_last",
                "Rules that the last sync wrote, by table (filter, nat)",
            )?,
            restore_failures: family.counters(
                "kubeproxy_sync_proxy_rules_iptables_restore_failures_total",
                "Failed runs of iptables-restore",
            )?,
            partial_restore_failures: family.counters(
                "kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total",
                "Failed runs of iptables-restore with changed rules only; a full sync follows each",
            )?,
            invalid_dropped: none.external_counter(
                "kubeproxy_iptables_ct_state_invalid_dropped_packets_total",
                "Packets dropped because connection tracking considers them invalid",
            )?,
            localhost_accepted: none.external_counter(
                "kubeproxy_iptables_localhost_nodeports_accepted_packets_total",
                "Packets accepted to node ports on loopback addresses",
            )?,
        })
    }

    /// `table` holds this many rules of the proxy, of which the last sync wrote `written`.
    pub fn rules(&self, family: &str, table: &str, rules: usize, written: usize) {
        self.rules.with_label_values(&[table, family]).set(number(rules));
        self.last.with_label_values(&[table, family]).set(number(written));
    }

    /// A sync of the iptables mode ended. Shows its counters of failures as 0, so that the first failure is an
    /// increase.
    pub fn attempted(&self, family: &str) {
        self.attempted_to_restore(family);
        self.partial_restore_failures.with_label_values(&[family]).inc_by(0);
    }

    /// A sync of a mode ended that writes all of its iptables rules each time: likewise.
    pub fn attempted_to_restore(&self, family: &str) {
        self.restore_failures.with_label_values(&[family]).inc_by(0);
    }

    /// `iptables-restore` failed.
    pub fn restore_failed(&self, family: &str) {
        self.restore_failures.with_label_values(&[family]).inc();
    }

    /// `iptables-restore` failed with changed rules only; [`Self::restore_failed`] is called besides.
    pub fn partial_restore_failed(&self, family: &str) {
        self.partial_restore_failures.with_label_values(&[family]).inc();
    }

    /// Packets that the kernel has counted so far: dropped as invalid, and sent to node ports on loopback addresses.
    /// `None` where it does not count them (`nfacct`): the metric is then absent.
    pub fn packets_counted(&self, invalid_dropped: Option<u64>, localhost_accepted: Option<u64>) {
        self.invalid_dropped.set(invalid_dropped);
        self.localhost_accepted.set(localhost_accepted);
    }
}
