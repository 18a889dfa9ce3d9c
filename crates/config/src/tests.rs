//! Command lines in, configurations or one-line errors out.

use std::collections::BTreeSet;
use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use portolan_core::ProxyMode;
use portolan_core::node::{DetectLocal, NodePortSelection};

use super::*;
use crate::flags::FLAGS;

fn parse_args(args: &[&str]) -> Result<Invocation, ConfigError> {
    let args = std::iter::once("portolan").chain(args.iter().copied()).map(OsString::from);
    parse(args, || Ok("Host-1\n".into()))
}

fn config(args: &[&str]) -> Config {
    match parse_args(args).unwrap() {
        Invocation::Run(config) => *config,
        other => panic!("{args:?} gave {other:?}"),
    }
}

fn error(args: &[&str]) -> String {
    let error = parse_args(args).expect_err(&format!("{args:?}"));
    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    format!("{error}{source}")
}

fn api(kubeconfig: Option<&str>, master: Option<&str>) -> Source {
    Source::Api(ApiAccess { kubeconfig: kubeconfig.map(PathBuf::from), master: master.map(str::to_owned) })
}

fn explicit(mode: &'static str) -> ModeSelection {
    ModeSelection::Explicit(ProxyMode::new(mode))
}

fn cidrs(texts: &[&str]) -> NodePortSelection {
    NodePortSelection::Cidrs(texts.iter().map(|text| text.parse().unwrap()).collect())
}

/// What the configuration should be like.
type Check = fn(&Config) -> bool;

fn sync(config: &Config, min_millis: u64, max_millis: u64) -> bool {
    config.sync
        == SyncPeriods { min: Duration::from_millis(min_millis), max: Duration::from_millis(max_millis) }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn node_ports(config: &Config) -> NodePortSelection {
    config.node(&ProxyMode::NFTABLES).node_port_addresses
}

fn cluster_cidrs(config: &Config) -> Vec<String> {
    match config.node(&ProxyMode::NFTABLES).detect_local {
        DetectLocal::ClusterCidr(cidrs) => cidrs.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

const ACCEPTED: [(&[&str], Check); 50] = [
    (&["--manifests", "/etc/m"], |c| c.source == Source::Manifests("/etc/m".into())),
    (&["--manifests=/etc/m"], |c| c.source == Source::Manifests("/etc/m".into())),
    (&["--manifests="], |c| c.source == api(None, None)),
    (&["--kubeconfig", "/k"], |c| c.source == api(Some("/k"), None)),
    (&["--master", "http://[::1]:8080"], |c| c.source == api(None, Some("http://[::1]:8080"))),
    (&["--master=u", "--kubeconfig=k"], |c| c.source == api(Some("k"), Some("u"))),
    (&["--master=--odd"], |c| c.source == api(None, Some("--odd"))),
    (&["--master", "--odd"], |c| c.source == api(None, Some("--odd"))),
    (&["--master", "a=b"], |c| c.source == api(None, Some("a=b"))),
    (&["--master=a=b"], |c| c.source == api(None, Some("a=b"))),
    (&[], |c| c.source == api(None, None)),
    (&[""], |c| c.source == api(None, None)),
    (&[], |c| c.mode == ModeSelection::Auto),
    (&["--mode=auto"], |c| c.mode == ModeSelection::Auto),
    (&["--mode", "nftables"], |c| c.mode == explicit("nftables")),
    (&["--proxy-mode=ipvs"], |c| c.mode == explicit("ipvs")),
    (&["--proxy_mode=ipvs", "--mode=mine"], |c| c.mode == explicit("mine")),
    (&[], |c| &*c.node(&ProxyMode::NFTABLES).node_name == "host-1"),
    (&["--hostname-override", " Node-7 "], |c| &*c.node(&ProxyMode::IPVS).node_name == "node-7"),
    (&["--hostname-override="], |c| &*c.node(&ProxyMode::NFTABLES).node_name == "host-1"),
    (&[], |c| cluster_cidrs(c).is_empty()),
    (&["--cluster-cidr=10.0.0.0/8"], |c| cluster_cidrs(c) == ["10.0.0.0/8"]),
    (&["--cluster-cidr", "fd00::/48,010.1.2.3/16"], |c| cluster_cidrs(c) == ["fd00::/48", "10.1.0.0/16"]),
    (&["--cluster-cidr=bad", "--cluster-cidr=10.0.0.0/8"], |c| cluster_cidrs(c) == ["10.0.0.0/8"]),
    (&[], |c| node_ports(c) == NodePortSelection::Primary),
    (&[], |c| c.node(&ProxyMode::IPTABLES).node_port_addresses == cidrs(&[])),
    (&["--nodeport-addresses=primary"], |c| {
        c.node(&ProxyMode::IPTABLES).node_port_addresses == NodePortSelection::Primary
    }),
    (&["--nodeport-addresses", "10.0.0.0/8,fd00::/8"], |c| {
        node_ports(c) == cidrs(&["10.0.0.0/8", "fd00::/8"])
    }),
    (&["--nodeport-addresses=10.0.0.0/8", "--nodeport_addresses", "192.0.2.1/32"], |c| {
        node_ports(c) == cidrs(&["10.0.0.0/8", "192.0.2.1/32"])
    }),
    (&["--nodeport-addresses="], |c| node_ports(c) == NodePortSelection::Primary),
    (&[], |c| !c.node(&ProxyMode::NFTABLES).masquerade_all),
    (&["--masquerade-all"], |c| c.node(&ProxyMode::NFTABLES).masquerade_all),
    (&["--masquerade_all=T"], |c| c.node(&ProxyMode::NFTABLES).masquerade_all),
    (&["--masquerade-all=1", "--masquerade-all=f"], |c| !c.node(&ProxyMode::NFTABLES).masquerade_all),
    (&[], |c| sync(c, 0, 30_000)),
    (&["--iptables-min-sync-period=1.5s"], |c| sync(c, 1_500, 30_000)),
    (&["--iptables-sync-period", "1m30s"], |c| sync(c, 0, 90_000)),
    (&["--iptables-min-sync-period=1m", "--iptables-sync-period=1m"], |c| sync(c, 60_000, 60_000)),
    (&[], |c| c.metrics_address == address("127.0.0.1:10249")),
    (&["--metrics-bind-address=0.0.0.0"], |c| c.metrics_address == address("0.0.0.0:10249")),
    (&["--metrics-bind-address", "[::1]:9"], |c| c.metrics_address == address("[::1]:9")),
    (&[], |c| c.healthz_address == address("0.0.0.0:10256")),
    (&["--healthz-bind-address", "::"], |c| c.healthz_address == address("[::]:10256")),
    (&["--healthz-bind-address="], |c| c.healthz_address == address("0.0.0.0:10256")),
    (&[], |c| c.logging == Logging { verbosity: 0, format: LogFormat::Text }),
    (&["-v2"], |c| c.logging.verbosity == 2),
    (&["-v=3", "-v", "4"], |c| c.logging.verbosity == 4),
    (&["--v=5"], |c| c.logging.verbosity == 5),
    (&["--logging-format=json"], |c| c.logging.format == LogFormat::Json),
    (&["--cleanup=false", "--version=0", "--help=F"], |c| c.mode == ModeSelection::Auto),
];

#[test]
fn accepted_flags_give_the_configuration() {
    for (args, check) in ACCEPTED {
        let config = config(args);
        assert!(check(&config), "{args:?} gave {config:#?}");
    }
}

#[test]
fn every_flag_is_in_the_table_of_accepted_ones() {
    let tried: BTreeSet<String> = ACCEPTED
        .iter()
        .flat_map(|(args, _)| args.iter())
        .filter_map(|arg| arg.strip_prefix("--"))
        .map(|arg| arg.split('=').next().unwrap_or_default().replace('_', "-"))
        .collect();
    let missing: Vec<_> =
        FLAGS.iter().flat_map(|flag| flag.names).filter(|name| !tried.contains(**name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn refusals_name_the_flag_and_the_value_on_one_line() {
    let cases: [(&[&str], &str); 41] = [
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
            &["--cluster-cidr=10.0.0.0"],
            "invalid value \"10.0.0.0\" for --cluster-cidr: \"10.0.0.0\" is no IP CIDR",
        ),
        (
            &["--cluster-cidr=10.0.0.0/8,"],
            "invalid value \"10.0.0.0/8,\" for --cluster-cidr: \"\" is no IP CIDR",
        ),
        (
            &["--cluster-cidr=10.0.0.0/8,11.0.0.0/8"],
            "invalid value \"10.0.0.0/8,11.0.0.0/8\" for --cluster-cidr: at most one CIDR of each IP family is taken",
        ),
        (
            &["--cluster-cidr=10.0.0.0/8,fd00::/8,fd01::/16"],
            "invalid value \"10.0.0.0/8,fd00::/8,fd01::/16\" for --cluster-cidr: at most one CIDR of each IP family is taken",
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
        (&["--help", "--bogus"], "unknown flag --bogus"),
        (&["--version", "-v"], "flag -v needs a value"),
    ];
    for (args, expected) in cases {
        assert_eq!(error(args), expected, "{args:?}");
    }
}

#[test]
fn a_value_that_is_not_utf8_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    for bytes in [&b"--master=\xff"[..], b"\xff", b"--\xff"] {
        let args = ["portolan".into(), OsString::from_vec(bytes.to_vec())];
        assert!(parse(args, || Ok("n".into())).is_err(), "{bytes:?}");
    }
}

#[test]
fn help_and_version_win_over_the_rest_and_help_over_version() {
    assert!(matches!(parse_args(&["--version", "-h", "--cluster-cidr=bad"]), Ok(Invocation::Help(_))));
    assert_eq!(parse_args(&["--cleanup", "--version"]).unwrap(), Invocation::Version);
    assert!(matches!(parse_args(&["--cleanup"]), Ok(Invocation::Cleanup(_))));
}

#[test]
fn help_names_every_flag() {
    let Ok(Invocation::Help(text)) = parse_args(&["--help"]) else { panic!() };
    for flag in &FLAGS {
        assert!(text.contains(flag.help), "{:?}", flag.names);
    }
    assert!(text.contains("--mode, --proxy-mode MODE "), "{text}");
    assert!(text.contains("-v N "), "{text}");
    assert!(text.contains("-h, --help "), "{text}");
}

#[test]
fn a_host_without_a_usable_name_is_an_error() {
    let unreadable = || Err(io::Error::other("gone"));
    let named = ["portolan", "--hostname-override=n"].map(OsString::from);
    assert!(parse(named, unreadable).is_ok(), "nobody asks the host");
    let unnamed = ["portolan"].map(OsString::from);
    assert!(matches!(parse(unnamed.clone(), unreadable), Err(ConfigError::Hostname { .. })));
    assert!(matches!(parse(unnamed, || Ok("\n".into())), Err(ConfigError::EmptyHostname)));
}
