//! Flags that are refused.

use super::*;

fn error(args: &[&str]) -> String {
    let error = parse_args(args).expect_err(&format!("{args:?}"));
    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    format!("{error}{source}")
}

/// Flags themselves, switches, numbers and periods.
const SIMPLE: [(&[&str], &str); 35] = [
    (&["--bogus"], "unknown flag --bogus"),
    (&["--bogus=1"], "unknown flag --bogus"),
    (&["--Mode=nftables"], "unknown flag --Mode"),
    (&["--mod"], "unknown flag --mod"),
    (&["-x"], "unknown flag -x"),
    (&["--two\nlines"], "unknown flag --two\\nlines"),
    (&["run"], "arguments besides flags are not taken, got \"run\""),
    (&["--", "--mode=x"], "arguments besides flags are not taken, got \"--mode=x\""),
    (&["--masquerade-all", "true"], "arguments besides flags are not taken, got \"true\""),
    (&["two\nlines"], "arguments besides flags are not taken, got \"two\\nlines\""),
    (&["--mode"], "flag --mode needs a value"),
    (&["-v"], "flag -v needs a value"),
    (&["--manifests=a", "--kubeconfig=b"], "--manifests and --kubeconfig exclude each other"),
    (&["--manifests=a", "--master=b"], "--manifests and --master exclude each other"),
    (&["--hostname-override", "  "], "empty hostname-override is invalid"),
    (
        &["--masquerade-all=yes"],
        "invalid value \"yes\" for --masquerade-all: not one of true, false, 1, 0, t, f",
    ),
    (&["--cleanup="], "invalid value \"\" for --cleanup: not one of true, false, 1, 0, t, f"),
    (&["--version=raw"], "invalid value \"raw\" for --version: not one of true, false, 1, 0, t, f"),
    (&["-h=x"], "invalid value \"x\" for -h: not one of true, false, 1, 0, t, f"),
    (&["-v=-1"], "invalid value \"-1\" for -v: not a number from 0 to 2147483647"),
    (&["-v+1"], "invalid value \"+1\" for -v: not a number from 0 to 2147483647"),
    (&["--v=2147483648"], "invalid value \"2147483648\" for --v: not a number from 0 to 2147483647"),
    (&["-vx"], "invalid value \"x\" for -v: not a number from 0 to 2147483647"),
    (
        &["--iptables-sync-period=5"],
        "invalid value \"5\" for --iptables-sync-period: not a duration such as 500ms, 30s or 1m30s",
    ),
    (
        &["--iptables-sync-period=0"],
        "invalid value \"0s\" for --iptables-sync-period: must be more than zero",
    ),
    (
        &["--iptables-min-sync-period=-1s"],
        "invalid value \"-1s\" for --iptables-min-sync-period: must not be negative",
    ),
    (
        &["--iptables-min-sync-period=31s"],
        "invalid value \"31s\" for --iptables-min-sync-period: must not be longer than --iptables-sync-period",
    ),
    (
        &["--iptables_min_sync_period=x"],
        "invalid value \"x\" for --iptables-min-sync-period: not a duration such as 500ms, 30s or 1m30s",
    ),
    (
        &["--iptables-masquerade-bit=32"],
        "invalid value \"32\" for --iptables-masquerade-bit: not a number from 0 to 31",
    ),
    (
        &["--iptables-masquerade-bit", "-1", "--mode=nftables"],
        "invalid value \"-1\" for --iptables-masquerade-bit: not a number from 0 to 31",
    ),
    (
        &["--iptables-masquerade-bit=+1"],
        "invalid value \"+1\" for --iptables-masquerade-bit: not a number from 0 to 31",
    ),
    (
        &["--iptables-masquerade-bit=x"],
        "invalid value \"x\" for --iptables-masquerade-bit: not a number from 0 to 31",
    ),
    (&["--iptables-masquerade-bit"], "flag --iptables-masquerade-bit needs a value"),
    (&["--help", "--bogus"], "unknown flag --bogus"),
    (&["--version", "-v"], "flag -v needs a value"),
];

/// Addresses, interfaces and words.
const STRUCTURED: [(&[&str], &str); 18] = [
    (
        &["--cluster-cidr=10.0.0.0"],
        "invalid value \"10.0.0.0\" for --cluster-cidr: \"10.0.0.0\" is no IP CIDR",
    ),
    (&["--cluster-cidr=10.0.0.0/8,"], "invalid value \"10.0.0.0/8,\" for --cluster-cidr: \"\" is no IP CIDR"),
    (
        &["--cluster-cidr=10.0.0.0/8,11.0.0.0/8"],
        "invalid value \"10.0.0.0/8,11.0.0.0/8\" for --cluster-cidr: at most one CIDR of each IP family is taken",
    ),
    (
        &["--cluster-cidr=10.0.0.0/8,fd00::/8,fd01::/16"],
        "invalid value \"10.0.0.0/8,fd00::/8,fd01::/16\" for --cluster-cidr: at most one CIDR of each IP family is taken",
    ),
    (
        &["--detect-local-mode=ClusterCIDR", "--cluster-cidr=bad"],
        "invalid value \"bad\" for --cluster-cidr: \"bad\" is no IP CIDR",
    ),
    (
        &["--detect-local-mode=clusterCIDR"],
        "invalid value \"clusterCIDR\" for --detect-local-mode: not one of ClusterCIDR, NodeCIDR, BridgeInterface, InterfaceNamePrefix",
    ),
    (
        &["--detect-local-mode=BridgeInterface", "--pod-interface-name-prefix=veth"],
        "invalid value \"\" for --pod-bridge-interface: must not be empty with --detect-local-mode=BridgeInterface",
    ),
    (
        &["--detect-local-mode=BridgeInterface", "--pod-bridge-interface=a-name-too-long0"],
        "invalid value \"a-name-too-long0\" for --pod-bridge-interface: longer than the 15 bytes that interface names have at most",
    ),
    (
        &["--detect-local-mode=BridgeInterface", "--pod-bridge-interface=a bridge"],
        "invalid value \"a bridge\" for --pod-bridge-interface: has a blank, control character, slash, colon or quote",
    ),
    (
        &["--detect-local-mode=InterfaceNamePrefix", "--pod-interface-name-prefix=veth/"],
        "invalid value \"veth/\" for --pod-interface-name-prefix: has a blank, control character, slash, colon or quote",
    ),
    (
        &["--detect-local-mode=InterfaceNamePrefix", "--pod-bridge-interface=cni0"],
        "invalid value \"\" for --pod-interface-name-prefix: must not be empty with --detect-local-mode=InterfaceNamePrefix",
    ),
    (
        &["--nodeport-addresses=primary,10.0.0.0/8"],
        "invalid value \"primary,10.0.0.0/8\" for --nodeport-addresses: \"primary\" cannot be combined with CIDRs",
    ),
    (
        &["--nodeport-addresses=primary", "--nodeport-addresses=primary"],
        "invalid value \"primary,primary\" for --nodeport-addresses: \"primary\" cannot be combined with CIDRs",
    ),
    (
        &["--nodeport-addresses=Primary"],
        "invalid value \"Primary\" for --nodeport-addresses: \"Primary\" is no IP CIDR",
    ),
    (
        &["--metrics-bind-address=localhost:80"],
        "invalid value \"localhost:80\" for --metrics-bind-address: not an IP address, or IP:port with a port from 1 to 65535",
    ),
    (
        &["--healthz-bind-address=0.0.0.0:0"],
        "invalid value \"0.0.0.0:0\" for --healthz-bind-address: not an IP address, or IP:port with a port from 1 to 65535",
    ),
    (&["--logging-format=xml"], "invalid value \"xml\" for --logging-format: not one of text, json"),
    (
        &["--cleanup", "--logging-format=xml"],
        "invalid value \"xml\" for --logging-format: not one of text, json",
    ),
];

#[test]
fn refusals_name_the_flag_and_the_value_on_one_line() {
    for (args, expected) in SIMPLE.into_iter().chain(STRUCTURED) {
        assert_eq!(error(args), expected, "{args:?}");
    }
}
