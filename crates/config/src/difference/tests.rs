//! Differences between two files, and when each counts.

use super::*;
use crate::file;

fn config(body: &str) -> KubeProxyConfiguration {
    let head = "kind: KubeProxyConfiguration\napiVersion: kubeproxy.config.k8s.io/v1alpha1\n";
    file::parse(&format!("{head}{body}")).unwrap().config
}

/// The differences, as `field` for those that are live and `field!` for those that need a restart.
fn found(old: &str, new: &str) -> Vec<String> {
    let mark = |difference: Difference| match difference.takes_effect {
        TakesEffect::Live => difference.field,
        TakesEffect::Restart => difference.field + "!",
    };
    between(&config(old), &config(new)).into_iter().map(mark).collect()
}

#[test]
fn equal_configurations_have_no_differences() {
    assert_eq!(found("", ""), [""; 0]);
    assert_eq!(
        found("mode: nftables\nclusterCIDR: 010.0.0.0/8", "clusterCIDR: 10.0.0.0/8\nmode: nftables"),
        [""; 0]
    );
    assert_eq!(found("oomScoreAdj: -999", "iptables: {masqueradeBit: null}"), [""; 0]);
}

#[test]
fn fields_of_plans_and_sysctls_take_effect_live() {
    for (new, expected) in [
        ("clusterCIDR: 10.0.0.0/8", "clusterCIDR"),
        ("detectLocalMode: NodeCIDR", "detectLocalMode"),
        ("detectLocal: {bridgeInterface: cni0}", "detectLocal.bridgeInterface"),
        ("nodePortAddresses: [primary]", "nodePortAddresses"),
        ("bindAddress: 10.0.0.7", "bindAddress"),
        ("oomScoreAdj: 0", "oomScoreAdj"),
        ("conntrack: {min: 1}", "conntrack.min"),
        ("conntrack: {tcpBeLiberal: true}", "conntrack.tcpBeLiberal"),
        ("iptables: {masqueradeAll: true}", "iptables.masqueradeAll"),
        ("iptables: {masqueradeBit: 5}", "iptables.masqueradeBit"),
        ("iptables: {syncPeriod: 1m}", "iptables.syncPeriod"),
        ("iptables: {minSyncPeriod: 1s}", "iptables.minSyncPeriod"),
        ("logging: {verbosity: 4}", "logging.verbosity"),
    ] {
        assert_eq!(found("", new), [expected]);
        assert_eq!(found(new, ""), [expected], "and back");
    }
    assert_eq!(
        found("mode: nftables", "mode: nftables\nnftables: {minSyncPeriod: 1s}"),
        ["nftables.minSyncPeriod"]
    );
    assert_eq!(found("mode: ipvs", "mode: ipvs\nipvs: {syncPeriod: 1s}"), ["ipvs.syncPeriod"]);
}

#[test]
fn other_fields_need_a_restart() {
    for (new, expected) in [
        ("mode: iptables", "mode!"),
        ("hostnameOverride: other", "hostnameOverride!"),
        ("clientConnection: {kubeconfig: /k}", "clientConnection.kubeconfig!"),
        ("clientConnection: {qps: 50}", "clientConnection.qps!"),
        ("healthzBindAddress: 127.0.0.1", "healthzBindAddress!"),
        ("metricsBindAddress: 0.0.0.0", "metricsBindAddress!"),
        ("enableProfiling: true", "enableProfiling!"),
        ("bindAddressHardFail: true", "bindAddressHardFail!"),
        ("logging: {format: json}", "logging.format!"),
        ("logging: {options: {text: {splitStream: true}}}", "logging.options.text.splitStream!"),
        ("featureGates: {ComponentFlagz: false}", "featureGates.ComponentFlagz!"),
        // Services have been taken in with or without their external IPs.
        ("featureGates: {AllowServiceExternalIPs: false}", "featureGates.AllowServiceExternalIPs!"),
    ] {
        assert_eq!(found("", new), [expected]);
    }
    assert_eq!(found("mode: ipvs", "mode: ipvs\nipvs: {scheduler: lc}"), ["ipvs.scheduler!"]);
}

#[test]
fn fields_of_plans_need_a_restart_after_a_change_of_mode() {
    let found = found("", "mode: nftables\nclusterCIDR: 10.0.0.0/8\nconntrack: {min: 1}");
    let waiting = ["clusterCIDR!", "conntrack.min", "mode!"];
    assert!(waiting.iter().all(|field| found.iter().any(|found| found == field)), "{found:?}");
    let live: Vec<_> = found.iter().filter(|field| !field.ends_with('!')).collect();
    assert_eq!(live, ["conntrack.min"]);
}

#[test]
fn a_change_of_the_bind_address_family_needs_a_restart() {
    let changed = found("bindAddress: 10.0.0.7", "bindAddress: '2001:db8::7'");
    assert_eq!(changed, ["bindAddress!", "healthzBindAddress!", "metricsBindAddress!"]);
}

#[test]
fn fields_without_effect_are_not_reported() {
    for new in [
        "configSyncPeriod: 1h",
        "portRange: 1-2",
        "windowsRunAsService: true",
        "winkernel: {networkName: x}",
        "showHiddenMetricsForVersion: '1.35'",
        "clientConnection: {contentType: application/json}",
        "logging: {vmodule: [{filePattern: a, verbosity: 1}]}",
        "logging: {flushFrequency: 1s}",
        "nftables: {syncPeriod: 1s, masqueradeBit: 5, masqueradeAll: true}",
        "ipvs: {scheduler: lc, syncPeriod: 1s}",
    ] {
        assert_eq!(found("", new), [""; 0], "{new}");
    }
    let unused =
        "iptables: {syncPeriod: 1s, masqueradeBit: 5, masqueradeAll: true, localhostNodePorts: false}";
    assert_eq!(found("mode: nftables", &format!("mode: nftables\n{unused}")), [""; 0]);
}

#[test]
fn a_change_of_mode_shows_its_other_differences() {
    let changed = found("", "mode: nftables");
    let expected = [
        "iptables.syncPeriod!",
        "mode!",
        "nftables.syncPeriod!",
        // Unset means all addresses to the one and the node's own to the other.
        "nodePortAddresses!",
    ];
    assert_eq!(changed, expected);
}
