//! Anything in: never a panic, and what is valid survives being written.

use proptest::prelude::*;

use super::*;

/// Pieces that configurations are made of, and some that they are not.
const PIECES: [&str; 36] = [
    "mode",
    "iptables",
    "conntrack",
    "featureGates",
    "nodePortAddresses",
    "logging",
    "kind",
    "apiVersion",
    "vmodule",
    ": ",
    ":",
    "\n",
    "\n  ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\"",
    "'",
    "&a ",
    "*a",
    "<<: ",
    "!!str ",
    "#",
    "| ",
    "---\n",
    "null",
    "30s",
    "-1",
    "1e9",
    "0x7f",
    "true",
    "::",
    "\u{e9}",
];

fn soup() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&PIECES[..]), 0..60).prop_map(|pieces| pieces.concat())
}

fn duration() -> impl Strategy<Value = String> {
    (1_u32..100_000, prop::sample::select(&["ms", "s", "m", "us"][..]))
        .prop_map(|(number, unit)| format!("{number}{unit}"))
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["\\PC{0,12}", "[ -~]{0,12}", "(null|yes|1e3|0x1|~|-|: |#a|'|\"|a: b|a #b)"]
}

prop_compose! {
    /// Flags of a configuration without faults.
    fn valid()(
        mode in prop::sample::select(&["", "auto", "nftables", "iptables", "ipvs", "userspace", MINE][..]),
        cidr in prop::sample::select(&["", "10.0.0.0/8", "010.1.2.3/16,fd00::/48"][..]),
        ports in prop::sample::select(&["", "primary", "10.0.0.0/8,fd00::/8"][..]),
        bind in prop::sample::select(&["0.0.0.0", "::", "10.0.0.7", "2001:db8::7"][..]),
        (scheduler, kubeconfig) in (text(), text()),
        (established, period, udp) in (duration(), duration(), duration()),
        (bit, score, min) in (0..32, -1000..=1000, 0..=i32::MAX),
        (qps, burst) in (-1000.0_f32..1000.0, 0..1000),
        (most, client) in (0..=i32::MAX, duration()),
        (all, liberal, flagz, verbosity) in (any::<bool>(), any::<bool>(), any::<bool>(), 0..10),
    ) -> Vec<String> {
        let sync = if mode == "ipvs" { "ipvs" } else { "iptables" };
        vec![
            format!("--mode={mode}"), format!("--cluster-cidr={cidr}"), format!("--nodeport-addresses={ports}"),
            format!("--bind-address={bind}"), format!("--ipvs-scheduler={scheduler}"), format!("--kubeconfig={kubeconfig}"),
            format!("--conntrack-tcp-timeout-established={established}"), format!("--{sync}-sync-period={period}"),
            format!("--ipvs-udp-timeout={udp}"), format!("--iptables-masquerade-bit={bit}"), format!("--oom-score-adj={score}"),
            format!("--conntrack-min={min}"), format!("--kube-api-qps={qps}"), format!("--kube-api-burst={burst}"),
            format!("--masquerade-all={all}"), format!("--conntrack-tcp-be-liberal={liberal}"),
            format!("--feature-gates=ComponentFlagz={flagz}"), format!("-v={verbosity}"),
            format!("--userspace-max-sessions-per-service={most}"), format!("--udp-timeout={client}"),
        ]
    }
}

proptest! {
    #[test]
    fn no_file_makes_the_reader_panic(text in prop_oneof![soup(), "\\PC*"]) {
        let _ = crate::file::parse(&text);
        let _ = crate::file::parse(&format!("kind: KubeProxyConfiguration\napiVersion: kubeproxy.config.k8s.io/v1alpha1\n{text}"));
    }

    #[test]
    fn no_field_makes_the_reader_panic(value in prop_oneof![soup(), "\\PC{0,20}"], deep in any::<bool>()) {
        for field in fields::all_fields() {
            let text = match field.split_once('.') {
                Some((section, name)) if deep => format!("{section}: {{{name}: {value}}}"),
                _ => format!("{field}: {value}"),
            };
            let text = format!("kind: KubeProxyConfiguration\napiVersion: kubeproxy.config.k8s.io/v1alpha1\n{text}\n");
            if let Ok(file) = crate::file::parse(&text) {
                let _ = Config::check(&crate::flags::Bound::default(), file.config, &[]);
            }
        }
    }

    #[test]
    fn no_command_line_makes_the_reader_panic(
        flags in prop::collection::vec((0..100_usize, prop_oneof![soup(), "\\PC{0,20}", "[-0-9a-z.,=:/]{0,20}"]), 0..6),
    ) {
        let all: Vec<_> = crate::flags::table::FLAGS.iter().collect();
        let args: Vec<String> = flags
            .into_iter()
            .map(|(index, value)| match all.get(index) {
                // Reads no file of the host.
                Some(flag) if flag.name != "config" => format!("--{}={value}", flag.name),
                _ => value,
            })
            .filter(|arg| !arg.starts_with("--config"))
            .collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let _ = parse_args(&args);
    }

    #[test]
    fn a_valid_configuration_survives_being_written(args in valid()) {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let before = config(&args);
        let written = [&args[..], &["--write-config-to=x"]].concat();
        let Ok(Invocation::WriteConfig { yaml, .. }) = parse_args(&written) else { panic!("{args:?}") };
        let after = files::load(&files::raw(&yaml), &[]).unwrap_or_else(|error| panic!("{error}: {yaml}"));
        prop_assert_eq!(&after.notes, &[]);
        prop_assert_eq!(before.differences(&after), []);
        for mode in [ProxyMode::NFTABLES, ProxyMode::IPTABLES, ProxyMode::IPVS] {
            prop_assert_eq!(before.configz(&mode), after.configz(&mode));
        }
        prop_assert_eq!((before.node(), before.sync, before.conntrack), (after.node(), after.sync, after.conntrack));
        prop_assert_eq!((before.source, before.mode, before.gates), (after.source, after.mode, after.gates));
        prop_assert_eq!(before.userspace, after.userspace);
        prop_assert_eq!((before.healthz_address, before.metrics_address), (after.healthz_address, after.metrics_address));
    }
}
