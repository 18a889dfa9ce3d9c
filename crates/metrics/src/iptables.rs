//! About rules of iptables, in kube-proxy's words. `family` is `IPv4` or `IPv6` everywhere.

use prometheus::{GaugeVec, IntCounterVec};

use crate::definition::{Definition, Definitions, MetricsError, number};
use crate::sync::IP_FAMILY;
use crate::told::Told;

/// About the iptables mode, and the rules of the ipvs mode; nothing is shown in any other.
#[derive(Clone, Debug)]
pub struct IptablesMetrics {
    rules: GaugeVec,
    last: GaugeVec,
    restore_failures: IntCounterVec,
    partial_restore_failures: IntCounterVec,
    invalid_dropped: Told,
    localhost_accepted: Told,
}

impl IptablesMetrics {
    pub(crate) fn define(definitions: &Definitions) -> Result<Self, MetricsError> {
        let gauges = |name, help| Definition::alpha(name, help).gauges(definitions, &["table", IP_FAMILY[0]]);
        let counters = |name, help| Definition::alpha(name, help).counters(definitions, IP_FAMILY);
        let told = |name, help| Definition::alpha(name, help).told(definitions);
        Ok(Self {
            rules: gauges(
                "kubeproxy_sync_proxy_rules_iptables_total",
                "Rules in the chains of the proxy, by table (filter, nat)",
            )?,
            last: gauges(
                "kubeproxy_sync_proxy_rules_iptables_last",
                "Rules that the last sync wrote, by table (filter, nat)",
            )?,
            restore_failures: counters(
                "kubeproxy_sync_proxy_rules_iptables_restore_failures_total",
                "Failed runs of iptables-restore",
            )?,
            partial_restore_failures: counters(
                "kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total",
                "Failed runs of iptables-restore with changed rules only, after each of which all are written",
            )?,
            invalid_dropped: told(
                "kubeproxy_iptables_ct_state_invalid_dropped_packets_total",
                "Packets dropped because connection tracking took them for invalid",
            )?,
            localhost_accepted: told(
                "kubeproxy_iptables_localhost_nodeports_accepted_packets_total",
                "Packets to node ports on loopback addresses",
            )?,
        })
    }

    /// `table` holds this many rules of ours, of which the last sync wrote `written`.
    pub fn rules(&self, family: &str, table: &str, rules: usize, written: usize) {
        self.rules.with_label_values(&[table, family]).set(number(rules));
        self.last.with_label_values(&[table, family]).set(number(written));
    }

    /// A sync in the iptables mode ended. Shows what may go wrong as 0 while it does not, so that the first
    /// failure is an increase.
    pub fn attempted(&self, family: &str) {
        self.attempted_to_restore(family);
        self.partial_restore_failures.with_label_values(&[family]).inc_by(0);
    }

    /// A sync in a mode ended that always writes all of its rules, if any: likewise.
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

    /// The kernel has counted so many packets so far: dropped as invalid, and sent to node ports on loopback
    /// addresses. `None` where it does not count them (`nfacct`): the metric is then absent.
    pub fn packets_counted(&self, invalid_dropped: Option<u64>, localhost_accepted: Option<u64>) {
        self.invalid_dropped.tell(invalid_dropped);
        self.localhost_accepted.tell(localhost_accepted);
    }
}
