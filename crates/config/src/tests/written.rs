//! What is written: the file of `--write-config-to` and the page `/configz`.

use super::files::{file, load, raw};
use super::*;

/// What `--write-config-to` writes with these flags.
fn written(args: &[&str]) -> String {
    match parse_args(&[args, &["--write-config-to=x"]].concat()).unwrap() {
        Invocation::WriteConfig { yaml, .. } => yaml,
        other => panic!("{other:?}"),
    }
}

#[test]
fn written_configurations_equal_kube_proxys_and_are_sorted() {
    let expected = include_str!("../../testdata/default.yaml");
    let found = written(&[]);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write("testdata/default.yaml", &found).unwrap();
    } else {
        assert_eq!(found, expected);
    }
}

#[test]
fn only_the_section_in_effect_is_written_with_its_periods() {
    let nftables = written(&["--mode=nftables", "--masquerade-all", "--iptables-min-sync-period=1s"]);
    for part in [
        "iptables:\n  localhostNodePorts: true\n  masqueradeAll: false\n  masqueradeBit: 14\n  minSyncPeriod: 0s\n  syncPeriod: 0s\n",
        "nftables:\n  masqueradeAll: true\n  masqueradeBit: 14\n  minSyncPeriod: 1s\n  syncPeriod: 30s\n",
        "nodePortAddresses:\n- primary\n",
        "detectLocalMode: ClusterCIDR\n",
    ] {
        assert!(nftables.contains(part), "{part} in {nftables}");
    }
    let ipvs = written(&["--mode=ipvs", "--masquerade-all"]);
    assert!(
        ipvs.contains("  masqueradeAll: true\n  masqueradeBit: 14\n  minSyncPeriod: 0s\n  syncPeriod: 0s\n"),
        "{ipvs}"
    );
    assert!(ipvs.contains("  syncPeriod: 30s\n  tcpFinTimeout"), "{ipvs}");
    let canonical = written(&[
        "--cluster-cidr=010.1.2.3/16,FD00::/48",
        "--bind-address=010.0.0.1",
        "--nodeport-addresses=010.0.0.0/8",
    ]);
    for part in ["clusterCIDR: 10.1.0.0/16,fd00::/48\n", "bindAddress: 10.0.0.1\n", "- 10.0.0.0/8\n"] {
        assert!(canonical.contains(part), "{part} in {canonical}");
    }
}

#[test]
fn a_written_configuration_loads_again_unchanged_without_notes() {
    let odd = "ipvs: {scheduler: \"on\", excludeCIDRs: [10.0.0.0/8]}\nmode: ipvs\nhostnameOverride: '0x1f'\n\
               clientConnection: {kubeconfig: 'a: b #c', qps: 0.1, burst: 7}\nfeatureGates: {LoggingAlphaOptions: true}\n\
               logging: {options: {text: {splitStream: true}}}\nipvs: {syncPeriod: 1h}\n";
    let odd = file(odd);
    for args in [
        &["--mode=auto", "--bind-address=::1", "--nodeport-addresses=10.0.0.0/8,fd00::/8"][..],
        &["--mode=mine", "--iptables-sync-period=1m30.5s", "--conntrack-min=0"],
        &[
            "--feature-gates=ComponentFlagz=false",
            "-v=4",
            "--kubeconfig=- 'quoted' \"twice\"",
            "--ipvs-scheduler=null",
            "--pod-bridge-interface=é\n\t\u{85}x",
        ],
        &["--config=testdata/kubeadm.yaml"],
        &["--config", odd.path().to_str().unwrap()],
    ] {
        let first = written(args);
        let file = raw(&first);
        let again = load(&file, &[]).unwrap_or_else(|error| panic!("{error}: {first}"));
        assert_eq!(again.notes, [], "{first}");
        assert_eq!(written(&["--config", file.path().to_str().unwrap()]), first);
        let before = config(args);
        assert!(before.differences(&again).is_empty(), "{:?}", before.differences(&again));
        assert_eq!((before.node(), before.sync, before.source), (again.node(), again.sync, again.source));
        assert_eq!(
            (before.mode, before.conntrack, before.logging, before.gates),
            (again.mode, again.conntrack, again.logging, again.gates)
        );
    }
}

#[test]
fn configz_is_the_effective_configuration_of_the_mode_that_runs() {
    let page = |args: &[&str], mode| -> serde_json::Value {
        serde_json::from_str(&config(args).configz(&mode)).unwrap()
    };
    let shown = page(&[], ProxyMode::IPTABLES);
    let fields = &shown["kubeproxy.config.k8s.io"];
    assert_eq!(shown.as_object().map(serde_json::Map::len), Some(1));
    assert_eq!((&fields["kind"], &fields["mode"]), (&"KubeProxyConfiguration".into(), &"iptables".into()));
    assert_eq!(fields["nodePortAddresses"], serde_json::Value::Null);
    assert!(fields.get("featureGates").is_none());
    assert_eq!(
        (&fields["iptables"]["syncPeriod"], &fields["nftables"]["syncPeriod"]),
        (&"30s".into(), &"0s".into())
    );
    assert_eq!(fields["clientConnection"]["qps"], 5.0);
    let text = config(&[]).configz(&ProxyMode::IPTABLES);
    assert!(text.starts_with(r#"{"kubeproxy.config.k8s.io":{"kind":"KubeProxyConfiguration","apiVersion":"kubeproxy.config.k8s.io/v1alpha1","clientConnection":{"kubeconfig":""#), "{text}");

    let without_node_ports = page(
        &["--masquerade-all", "--iptables-masquerade-bit=5", "--iptables-sync-period=9s"],
        ProxyMode::NFTABLES,
    );
    let fields = &without_node_ports["kubeproxy.config.k8s.io"];
    assert_eq!(
        fields["nftables"],
        serde_json::json!({"masqueradeBit": 5, "masqueradeAll": true, "syncPeriod": "9s", "minSyncPeriod": "0s"})
    );
    assert_eq!(
        fields["nodePortAddresses"],
        serde_json::json!(["0.0.0.0/0", "::/0"]),
        "unset means all, as in the requested mode"
    );
    assert_eq!(fields["iptables"]["syncPeriod"], "0s");
    let fallen_back = page(&["--mode=nftables"], ProxyMode::IPTABLES);
    assert_eq!(fallen_back["kubeproxy.config.k8s.io"]["nodePortAddresses"], serde_json::json!(["primary"]));
    assert_eq!(
        page(&["--healthz-port=0"], ProxyMode::IPTABLES)["kubeproxy.config.k8s.io"]["healthzBindAddress"],
        ""
    );
}
