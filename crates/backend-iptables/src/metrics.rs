//! kube-proxy's names for what programs of iptables do.

/// Rules in the chains of the proxy, by table.
pub(crate) const RULES: &str = "kubeproxy_sync_proxy_rules_iptables_total";
/// Rules that the last sync wrote, by table.
pub(crate) const RULES_WRITTEN: &str = "kubeproxy_sync_proxy_rules_iptables_last";
/// Failed runs of `iptables-restore`.
pub const RESTORE_FAILURES: &str = "kubeproxy_sync_proxy_rules_iptables_restore_failures_total";
/// Failed runs of `iptables-restore` with changed rules only.
pub(crate) const PARTIAL_RESTORE_FAILURES: &str =
    "kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total";
