//! Whole files: what loads, what loads with a note in the log, what does not load, and what is written.

use super::*;
use portolan_core::node::{DetectLocal, NodePortSelection};

/// A file that is gone when this is dropped.
pub(super) fn raw(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

const HEAD: &str = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";

/// The same, with the fields that say what it is in front.
pub(super) fn file(body: &str) -> tempfile::NamedTempFile {
    raw(&format!("{HEAD}{body}\n"))
}

/// The configuration of a file and flags.
pub(super) fn load(file: &tempfile::NamedTempFile, args: &[&str]) -> Result<Config, String> {
    let path = file.path().to_str().unwrap();
    match parse_args(&[&["--config", path], args].concat()) {
        Ok(Invocation::Run(config)) => Ok(*config),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string().replace(path, "FILE")),
    }
}

fn lines(config: &Config) -> Vec<String> {
    config.notes.iter().map(ToString::to_string).collect()
}

#[test]
fn the_file_of_kubeadm_loads_without_notes() {
    let config = config(&["--config=testdata/kubeadm.yaml", "--hostname-override=node-1"]);
    assert_eq!(config.notes, []);
    assert_eq!(config.mode, ModeSelection::Unset);
    let Source::Api(access) = &config.source else { panic!("{:?}", config.source) };
    assert_eq!(access.kubeconfig, Some("/var/lib/kube-proxy/kubeconfig.conf".into()));
    assert_eq!((access.qps.to_string().as_str(), access.burst), ("5", 10));
    let node = config.node();
    assert_eq!(node.detect_local, DetectLocal::ClusterCidr(vec!["10.244.0.0/16".parse().unwrap()]));
    assert_eq!(node.node_port_addresses, NodePortSelection::Cidrs(vec![]), "as it was in iptables mode");
    assert_eq!(node.masquerade_mark, 1 << 14);
    assert_eq!(config.healthz_address, Some("0.0.0.0:10256".parse().unwrap()));
    assert_eq!(config.metrics_address, "127.0.0.1:10249".parse().unwrap());
    assert_eq!((config.conntrack.max_per_core, config.conntrack.min), (32_768, 131_072));
    assert_eq!(config.conntrack.tcp_established_timeout.as_secs(), 86_400);
    assert_eq!(config.oom_score_adj, -999);
    let defaults = super::config(&["--hostname-override=node-1"]);
    assert_eq!(config.sync, defaults.sync);
    assert_eq!(config.logging, defaults.logging);
}

#[test]
fn an_empty_file_means_the_defaults() {
    let from_file = load(&file(""), &[]).unwrap();
    let mut from_flags = config(&[]);
    from_flags.file.clone_from(&from_file.file);
    from_flags.flags.clone_from(&from_file.flags);
    assert_eq!(from_file, from_flags);
}

#[test]
fn json_is_read_like_yaml() {
    let json = "{\n\t\"kind\": \"KubeProxyConfiguration\",\n\t\"apiVersion\": \"kubeproxy.config.k8s.io/v1alpha1\",\n\t\
                \"mode\": \"ipvs\", \"nodePortAddresses\": [\"10.0.0.0\\/8\"], \"oomScoreAdj\": null,\n\t\
                \"ipvs\": {\"syncPeriod\": \"5s\", \"strictARP\": true}}\n";
    let config = load(&raw(json), &[]).unwrap();
    assert_eq!(config.mode, ModeSelection::Explicit(ProxyMode::IPVS));
    assert_eq!(config.sync.max.as_secs(), 5);
    assert_eq!(
        config.node().node_port_addresses,
        NodePortSelection::Cidrs(vec!["10.0.0.0/8".parse().unwrap()])
    );
    assert_eq!(config.notes, []);
}

#[test]
fn bind_addresses_of_both_families_give_the_servers_theirs() {
    for (bind, healthz, metrics, own) in [
        ("0.0.0.0", "0.0.0.0:10256", "127.0.0.1:10249", None),
        ("9.8.7.6", "0.0.0.0:10256", "127.0.0.1:10249", Some("9.8.7.6")),
        ("\"::\"", "[::]:10256", "[::1]:10249", None),
        ("::0", "[::]:10256", "[::1]:10249", None),
        ("'2001:db8::7'", "[::]:10256", "[::1]:10249", Some("2001:db8::7")),
        ("010.0.0.1", "0.0.0.0:10256", "127.0.0.1:10249", Some("10.0.0.1")),
    ] {
        let config = load(&file(&format!("bindAddress: {bind}")), &[]).unwrap();
        assert_eq!(
            config.healthz_address.map(|address| address.to_string()).as_deref(),
            Some(healthz),
            "{bind}"
        );
        assert_eq!(config.metrics_address.to_string(), metrics, "{bind}");
        assert_eq!(config.bind_address.map(|ip| ip.to_string()).as_deref(), own, "{bind}");
    }
    let config = load(&file("healthzBindAddress: '::'\nmetricsBindAddress: 1.2.3.4"), &[]).unwrap();
    assert_eq!(config.healthz_address, Some("[::]:10256".parse().unwrap()));
    assert_eq!(config.metrics_address, "1.2.3.4:10249".parse().unwrap());
}

#[test]
fn violations_of_strict_decoding_are_noted_and_ignored() {
    const LENIENT: &str =
        "--config: Using lenient decoding as strict decoding failed: strict decoding error: ";
    for (body, complaint) in [
        ("bogus: 1", "unknown field \"bogus\""),
        ("Mode: nftables", "unknown field \"Mode\""),
        ("iptables: {bogus: {deep: [1]}, syncPeriod: 7s}", "unknown field \"iptables.bogus\""),
        ("mode: ipvs\nmode: iptables", "duplicate field \"mode\""),
        (
            "udpIdleTimeout: 250ms\nresourceContainer: /kube-proxy",
            "unknown field \"udpIdleTimeout\", unknown field \"resourceContainer\"",
        ),
        (
            "logging: {vmodule: [{filePattern: a, verbosity: 1, more: 2}]}",
            "unknown field \"logging.vmodule[0].more\"",
        ),
    ] {
        let config = load(&file(body), &[]).unwrap();
        assert!(lines(&config).contains(&format!("{LENIENT}{complaint}")), "{body}: {:?}", config.notes);
        assert_ne!(config.mode, ModeSelection::Explicit(ProxyMode::IPVS), "the last of two counts");
    }
    let config = load(&file("iptables: {bogus: 1, syncPeriod: 7s}"), &[]).unwrap();
    assert_eq!(config.sync.max.as_secs(), 7, "the rest counts");
}

#[test]
fn notes_are_the_same_for_every_action() {
    let file = file("mod: iptables\nClusterCIDR: 10.244.0.0/16\nfeatureGates: {Bogus: true}");
    let expected = [
        "--config: Using lenient decoding as strict decoding failed: strict decoding error: unknown field \"mod\", \
         unknown field \"ClusterCIDR\"",
        "featureGates.Bogus: unknown feature gate, ignored",
    ];
    let said = |args: &[&str]| {
        let path = file.path().to_str().unwrap();
        let notes = match parse_args(&[&["--config", path], args].concat()).unwrap() {
            Invocation::Run(config) | Invocation::Cleanup(config) | Invocation::InitOnly(config) => {
                config.notes
            }
            Invocation::WriteConfig { notes, .. } => notes,
            other => panic!("{other:?}"),
        };
        notes.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for args in [&[][..], &["--write-config-to=x"], &["--cleanup"], &["--init-only"]] {
        assert_eq!(said(args), expected, "{args:?}");
    }
}

#[test]
fn an_invalid_file_keeps_its_note_about_unknown_fields() {
    let file = file("mod: iptables\noomScoreAdj: -2000");
    let error = parse_args(&["--config", file.path().to_str().unwrap()]).unwrap_err();
    let ConfigError::Invalid { errors, notes } = error else { panic!("{error:?}") };
    assert!(errors.to_string().contains("OOMScoreAdj"), "{errors}");
    assert!(notes[0].message.ends_with("unknown field \"mod\""), "{notes:?}");
}

#[test]
fn only_the_first_document_is_used_and_others_are_noted() {
    let config = load(&raw(&format!("---\n{HEAD}mode: ipvs\n---\nmode: iptables\n")), &[]).unwrap();
    assert_eq!(config.mode, ModeSelection::Explicit(ProxyMode::IPVS));
    assert_eq!(lines(&config), ["--config: only the first document of the file is used"]);
    assert_eq!(load(&raw(&format!("\u{feff}---\n{HEAD}...\n")), &[]).unwrap().notes, []);
}

#[test]
fn an_invalid_file_is_rejected_with_line_and_field() {
    const FAILED: &str = "failed complete: failed to decode: FILE: ";
    for (text, expected) in [
        (String::new(), "`kind` is missing"),
        ("apiVersion: kubeproxy.config.k8s.io/v1alpha1".to_owned(), "`kind` is missing"),
        ("kind: KubeProxyConfiguration".to_owned(), "`apiVersion` is missing"),
        (
            "kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1".to_owned(),
            "unknown kind kubelet.config.k8s.io/v1beta1 KubeletConfiguration \
             (want kubeproxy.config.k8s.io/v1alpha1 KubeProxyConfiguration)",
        ),
        (
            "kind: KubeProxyConfiguration\napiVersion: kubeproxy.config.k8s.io/v1".to_owned(),
            "unknown kind kubeproxy.config.k8s.io/v1 KubeProxyConfiguration \
             (want kubeproxy.config.k8s.io/v1alpha1 KubeProxyConfiguration)",
        ),
        ("- 1".to_owned(), "line 1: the file is not a mapping"),
        (format!("{HEAD}mode: 5"), "line 3: mode: found integer `5`, want a string"),
        (format!("{HEAD}mode: on"), "line 3: mode: found boolean `true`, want a string"),
        (
            format!("{HEAD}oomScoreAdj: \"5\""),
            "line 3: oomScoreAdj: found string \"5\", want a 32-bit integer",
        ),
        (
            format!("{HEAD}oomScoreAdj: 1.5"),
            "line 3: oomScoreAdj: found floating point `1.5`, want a 32-bit integer",
        ),
        (
            format!("{HEAD}oomScoreAdj: 2147483648"),
            "line 3: oomScoreAdj: found integer `2147483648`, want a 32-bit integer",
        ),
        (
            format!("{HEAD}conntrack:\n  min: x"),
            "line 4: conntrack.min: found string \"x\", want a 32-bit integer",
        ),
        (
            format!("{HEAD}configSyncPeriod: 30"),
            "line 3: configSyncPeriod: found integer `30`, want a duration",
        ),
        (
            format!("{HEAD}configSyncPeriod: soon"),
            "line 3: configSyncPeriod: \"soon\" is not a duration such as 500ms, 30s or 1m30s",
        ),
        (
            format!("{HEAD}nodePortAddresses: primary"),
            "line 3: nodePortAddresses: found string \"primary\", want a list",
        ),
        (format!("{HEAD}iptables: []"), "line 3: iptables: found a list, want a mapping"),
        (
            format!("{HEAD}enableProfiling: \"true\""),
            "line 3: enableProfiling: found string \"true\", want a boolean",
        ),
        (
            format!("{HEAD}featureGates: {{A: 1}}"),
            "line 3: featureGates.A: found integer `1`, want a boolean",
        ),
        (
            format!("{HEAD}logging: {{verbosity: -1}}"),
            "line 3: logging.verbosity: found integer `-1`, want an unsigned 32-bit integer",
        ),
    ] {
        assert_eq!(load(&raw(&text), &[]).unwrap_err(), format!("{FAILED}{expected}"), "{text}");
    }
    for broken in
        ["bindAddress: ::", "bindAddress: [", "\tmode: x", "mode: \"", "a: *b", "a: &a [*a]", "{\"mode\": }]"]
    {
        let error = load(&file(broken), &[]).unwrap_err();
        assert!(
            error.starts_with(FAILED) && error.contains("line") && error.lines().count() == 1,
            "{broken}: {error}"
        );
    }
}

#[test]
fn flags_with_a_field_are_ignored_with_a_file_and_others_are_used() {
    let config = load(
        &file("mode: ipvs\nclusterCIDR: 10.0.0.0/8"),
        &[
            "--proxy-mode=nftables",
            "--cluster-cidr=bad",
            "--bind-address=1.2.3.4",
            "--feature-gates=AllAlpha=true",
            "--healthz-port=0",
            "--kubeconfig=/k",
            "--master=http://m",
            "--mode-fallback=false",
            "--masquerade-all",
        ],
    )
    .unwrap();
    assert_eq!(config.mode, ModeSelection::Explicit(ProxyMode::IPVS));
    assert_eq!((config.bind_address, config.healthz_address.is_some()), (None, true));
    assert!(
        !config.gates.is_on("LoggingAlphaOptions") && !config.mode_fallback && !config.node().masquerade_all
    );
    let Source::Api(access) = config.source else { panic!() };
    assert_eq!((access.kubeconfig, access.master.as_deref()), (None, Some("http://m")));
    let manifests = load(&file("mode: ipvs"), &["--manifests=/m"]).unwrap();
    assert_eq!(manifests.source, Source::Manifests("/m".into()));
    let both = load(&file("clientConnection: {kubeconfig: /k}"), &["--manifests=/m"]).unwrap_err();
    assert_eq!(both, "--manifests and clientConnection.kubeconfig are mutually exclusive");
}

#[test]
fn the_node_name_comes_from_the_flag_then_the_file_then_the_host() {
    let named = file("hostnameOverride: \" Named-By-File \"");
    let name = |file, args: &[&str]| load(file, args).map(|config| config.node().node_name.to_string());
    assert_eq!(name(&named, &[]).as_deref(), Ok("named-by-file"));
    assert_eq!(name(&named, &["--hostname-override=By-Flag"]).as_deref(), Ok("by-flag"));
    assert_eq!(name(&file(""), &[]).as_deref(), Ok("host-1"));
    assert!(load(&named, &["--hostname-override= "]).is_err());
}

#[test]
fn logging_flags_override_the_file() {
    let logging = file("logging: {verbosity: 3, format: text, vmodule: [{filePattern: a, verbosity: 1}]}");
    assert_eq!(load(&logging, &[]).unwrap().logging.verbosity, 3);
    assert_eq!(load(&logging, &["-v=0"]).unwrap().logging.verbosity, 0);
    let page = load(&logging, &["--vmodule=b=2,c=3"]).unwrap().configz(&ProxyMode::NFTABLES);
    assert!(page.contains(r#""vmodule":[{"filePattern":"b","verbosity":2},{"filePattern":"c","verbosity":3},{"filePattern":"a","verbosity":1}]"#), "{page}");
    let json = load(&file("logging: {verbosity: 3}"), &["--logging-format=json"]).unwrap().logging;
    assert_eq!((json.format, json.verbosity), (LogFormat::Json, 3));
    let gated =
        file("featureGates: {LoggingAlphaOptions: true}\nlogging: {options: {text: {infoBufferSize: 512}}}");
    let config = load(
        &gated,
        &["--log-text-split-stream", "--log-text-info-buffer-size=0", "--log-flush-frequency=6s"],
    )
    .unwrap();
    assert!(config.logging.split_stream);
    assert_eq!(lines(&config), ["logging.flushFrequency: log lines are not buffered"]);
}

#[test]
fn flush_frequency_may_be_nanoseconds() {
    let frequency = |text: &str| load(&file(&format!("logging: {{flushFrequency: {text}}}")), &[]);
    assert_eq!(frequency("5000000000").unwrap().notes, []);
    assert_eq!(frequency("\"5s\"").unwrap().notes, []);
    assert_eq!(
        frequency("-1").unwrap_err(),
        "KubeProxyConfiguration.logging.flushFrequency: Invalid value: -1ns: must be greater than 0"
    );
    assert!(frequency("[]").is_err());
}

#[test]
fn explicit_zeros_are_kept_in_fields_that_can_be_absent() {
    let conntrack = load(&file("conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}\noomScoreAdj: 0"), &[]).unwrap();
    assert_eq!(
        (conntrack.conntrack.max_per_core, conntrack.conntrack.min, conntrack.oom_score_adj),
        (0, 0, 0)
    );
    assert!(
        conntrack.conntrack.tcp_established_timeout.is_zero()
            && conntrack.conntrack.tcp_close_wait_timeout.is_zero()
    );
    let bit = load(&file("iptables: {masqueradeBit: 0}"), &[]).unwrap();
    assert_eq!(bit.node().masquerade_mark, 1);
}

#[test]
fn anchors_and_merges_of_yaml_are_understood() {
    let text = "x: &periods {syncPeriod: 7s, minSyncPeriod: 2s}\niptables:\n  <<: *periods\n  minSyncPeriod: 3s\nnftables: *periods";
    let config = load(&file(text), &[]).unwrap();
    assert_eq!((config.sync.max.as_secs(), config.sync.min.as_secs()), (7, 3));
    let bomb = (0..40).fold("a0: &a0 [1,1,1,1,1,1,1,1]\n".to_owned(), |text, n| {
        format!("{text}a{m}: &a{m} [*a{n},*a{n},*a{n},*a{n}]\n", m = n + 1)
    });
    let error = load(&file(&bomb), &[]).unwrap_err();
    assert!(error.contains("too complex"), "{error}");
    let deep = format!("a: {}", "[".repeat(5000));
    assert!(load(&file(&deep), &[]).is_err());
}
