//! The tables of `docs/configuration.md`, made from the code; `BLESS=1` rewrites them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use super::*;
use crate::difference::takes_effect;
use crate::flags::{WithFile, table};
use crate::kube_proxy::KubeProxyConfiguration;

/// What a field means: the flag that means the same, or words.
enum Means {
    Flag(&'static str),
    Words(&'static str),
}
use Means::{Flag, Words};

/// The fields, in the order of the page.
const FIELDS: [(&str, Means); 65] = [
    ("mode", Flag("proxy-mode")),
    ("featureGates", Flag("feature-gates")),
    ("hostnameOverride", Flag("hostname-override")),
    ("bindAddress", Flag("bind-address")),
    ("clientConnection.kubeconfig", Flag("kubeconfig")),
    ("clientConnection.acceptContentTypes", Words("accepted; objects are always requested as JSON")),
    ("clientConnection.contentType", Flag("kube-api-content-type")),
    ("clientConnection.qps", Flag("kube-api-qps")),
    ("clientConnection.burst", Flag("kube-api-burst")),
    ("configSyncPeriod", Flag("config-sync-period")),
    ("detectLocalMode", Flag("detect-local-mode")),
    ("detectLocal.bridgeInterface", Flag("pod-bridge-interface")),
    ("detectLocal.interfaceNamePrefix", Flag("pod-interface-name-prefix")),
    ("clusterCIDR", Flag("cluster-cidr")),
    ("nodePortAddresses", Flag("nodeport-addresses")),
    ("iptables.masqueradeBit", Flag("iptables-masquerade-bit")),
    (
        "iptables.masqueradeAll",
        Words("as --masquerade-all; in modes iptables and ipvs, and if no mode is set"),
    ),
    ("iptables.localhostNodePorts", Flag("iptables-localhost-nodeports")),
    ("iptables.syncPeriod", Words("as --iptables-sync-period; in mode iptables, and if no mode is set")),
    (
        "iptables.minSyncPeriod",
        Words("as --iptables-min-sync-period; in mode iptables, and if no mode is set"),
    ),
    ("ipvs.syncPeriod", Flag("ipvs-sync-period")),
    ("ipvs.minSyncPeriod", Flag("ipvs-min-sync-period")),
    ("ipvs.scheduler", Flag("ipvs-scheduler")),
    ("ipvs.excludeCIDRs", Flag("ipvs-exclude-cidrs")),
    ("ipvs.strictARP", Flag("ipvs-strict-arp")),
    ("ipvs.tcpTimeout", Flag("ipvs-tcp-timeout")),
    ("ipvs.tcpFinTimeout", Flag("ipvs-tcpfin-timeout")),
    ("ipvs.udpTimeout", Flag("ipvs-udp-timeout")),
    (
        "nftables.masqueradeBit",
        Words("bit of the packet mark that requests masquerading; in modes nftables and auto"),
    ),
    ("nftables.masqueradeAll", Words("as --masquerade-all; in modes nftables and auto")),
    ("nftables.syncPeriod", Words("as --iptables-sync-period; in modes nftables and auto")),
    ("nftables.minSyncPeriod", Words("as --iptables-min-sync-period; in modes nftables and auto")),
    ("userspace.addresses", Flag("userspace-addresses")),
    ("userspace.maxSessions", Flag("userspace-max-sessions")),
    ("userspace.maxSessionsPerService", Flag("userspace-max-sessions-per-service")),
    ("userspace.udpTimeout", Flag("udp-timeout")),
    ("userspace.udpSingleTimeout", Flag("userspace-udp-single-timeout")),
    ("oomScoreAdj", Flag("oom-score-adj")),
    ("conntrack.maxPerCore", Flag("conntrack-max-per-core")),
    ("conntrack.min", Flag("conntrack-min")),
    ("conntrack.tcpEstablishedTimeout", Flag("conntrack-tcp-timeout-established")),
    ("conntrack.tcpCloseWaitTimeout", Flag("conntrack-tcp-timeout-close-wait")),
    ("conntrack.tcpBeLiberal", Flag("conntrack-tcp-be-liberal")),
    ("conntrack.udpTimeout", Flag("conntrack-udp-timeout")),
    ("conntrack.udpStreamTimeout", Flag("conntrack-udp-timeout-stream")),
    ("healthzBindAddress", Flag("healthz-bind-address")),
    ("metricsBindAddress", Flag("metrics-bind-address")),
    ("bindAddressHardFail", Flag("bind-address-hard-fail")),
    ("enableProfiling", Flag("profiling")),
    ("showHiddenMetricsForVersion", Flag("show-hidden-metrics-for-version")),
    ("logging.format", Flag("logging-format")),
    ("logging.verbosity", Flag("v")),
    ("logging.vmodule", Flag("vmodule")),
    ("logging.flushFrequency", Flag("log-flush-frequency")),
    ("logging.options.text.splitStream", Flag("log-text-split-stream")),
    ("logging.options.text.infoBufferSize", Flag("log-text-info-buffer-size")),
    ("logging.options.json.splitStream", Flag("log-json-split-stream")),
    ("logging.options.json.infoBufferSize", Flag("log-json-info-buffer-size")),
    ("portRange", Flag("proxy-port-range")),
    ("windowsRunAsService", Words("accepted; Windows only")),
    ("winkernel.networkName", Words("accepted; Windows only")),
    ("winkernel.sourceVip", Words("accepted; Windows only")),
    ("winkernel.enableDSR", Words("accepted; Windows only")),
    ("winkernel.rootHnsEndpointName", Words("accepted; Windows only")),
    ("winkernel.forwardHealthCheckVip", Words("accepted; Windows only")),
];

fn page() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md"))
}

/// The part of the page between two markers.
fn between(page: &str, name: &str) -> std::ops::Range<usize> {
    let (from, to) = (format!("<!-- {name}: made by a test -->\n"), format!("<!-- end of {name} -->"));
    let start = page.find(&from).unwrap_or_else(|| panic!("{from}")) + from.len();
    start..start + page[start..].find(&to).unwrap_or_else(|| panic!("{to}"))
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

fn flags() -> String {
    let mut bound = crate::flags::Bound::default();
    let mut out =
        String::from("| flag | type | default | with `--config` | meaning |\n|---|---|---|---|---|\n");
    for flag in &table::FLAGS {
        let value = (flag.value)(&mut bound);
        let dashes = |name: &str| if name.len() == 1 { format!("`-{name}`") } else { format!("`--{name}`") };
        let short = flag.short.map(|letter| format!("`-{letter}`"));
        let mut names: Vec<String> = short.into_iter().chain([dashes(flag.name)]).collect();
        names.extend(flag.alias.map(dashes));
        names.dedup();
        let with_file = match flag.with_file {
            WithFile::Honoured => "used",
            WithFile::Ignored => "ignored",
        };
        let deprecated =
            flag.deprecated.map(|instead| format!("; deprecated: {instead}")).unwrap_or_default();
        let (kind, text) = (value.kind(), value.text());
        let meaning = cell(&format!("{}{deprecated}", flag.help));
        writeln!(out, "| {} | {kind} | {} | {with_file} | {meaning} |", names.join(", "), code(&text))
            .unwrap();
    }
    out
}

fn fields() -> String {
    let defaults = KubeProxyConfiguration::with_defaults().to_json();
    let mut out =
        String::from("| field | default | flag | a change takes effect | meaning |\n|---|---|---|---|---|\n");
    for (field, means) in &FIELDS {
        let default = defaults.pointer(&format!("/{}", field.replace('.', "/"))).map(ToString::to_string);
        let default =
            default.filter(|text| !["\"\"", "null", "false", "\"0s\"", "0"].contains(&text.as_str()));
        let counts = match takes_effect(field) {
            Some(TakesEffect::Live) => "immediately",
            Some(TakesEffect::Restart) => "after a restart",
            None => "never",
        };
        let (flag, meaning) = match means {
            Flag(name) => {
                let flag =
                    table::FLAGS.iter().find(|flag| flag.name == *name).unwrap_or_else(|| panic!("{name}"));
                let dashes = if name.len() == 1 { "-" } else { "--" };
                (format!("{dashes}{name}"), flag.help)
            }
            Words(words) => (String::new(), *words),
        };
        let default = code(&default.unwrap_or_default());
        writeln!(out, "| `{field}` | {default} | {} | {counts} | {} |", code(&flag), cell(meaning)).unwrap();
    }
    out
}

fn gates() -> String {
    let mut out = String::from("| gate | stage | default | effect |\n|---|---|---|---|\n");
    for (name, stage, default) in FeatureGates::default().iter() {
        let other = FeatureGates::new(&[(name.to_owned(), !default)].into());
        let effect = match (other.errors().first(), other.notes().first()) {
            (Some(_), _) => "locked to its default".to_owned(),
            (None, Some(note)) => note.message.clone(),
            (None, None) => "as in kube-proxy".to_owned(),
        };
        let stage = if stage.is_empty() { "GA" } else { stage };
        writeln!(out, "| `{name}` | {stage} | {default} | {effect} |").unwrap();
    }
    out
}

#[test]
fn the_page_lists_all_flags_fields_and_gates() {
    let listed: BTreeSet<String> = FIELDS.iter().map(|(field, _)| (*field).to_owned()).collect();
    assert_eq!(listed, super::fields::all_fields());
    let mut text = std::fs::read_to_string(page()).unwrap();
    for (name, made) in [("flags", flags()), ("fields", fields()), ("gates", gates())] {
        let place = between(&text, name);
        if std::env::var_os("BLESS").is_some() {
            text.replace_range(place, &made);
        } else {
            assert_eq!(text[place], made, "the {name} in docs/configuration.md; BLESS=1 rewrites them");
        }
    }
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(page(), text).unwrap();
    }
}

#[test]
fn the_example_of_the_page_loads_without_notes() {
    let text = std::fs::read_to_string(page()).unwrap();
    let examples: Vec<&str> =
        text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let config =
            files::load(&files::raw(example), &[]).unwrap_or_else(|error| panic!("{error}: {example}"));
        assert_eq!(config.notes, [], "{example}");
    }
}
