//! How a command line is written, and flags that have to do with each other.

use super::*;
use std::time::Duration;

use portolan_core::GIT_VERSION;
use portolan_core::node::DetectLocal;

/// As long as the name of an interface may be.
const FIFTEEN: &str = "fifteen-letters";

fn sets(args: &[&str], holds: fn(&Config) -> bool) {
    let config = config(args);
    assert!(holds(&config), "{args:?} gave {config:#?}");
}

#[test]
fn flags_have_the_syntax_of_pflag() {
    let master = |c: &Config| match &c.source {
        Source::Api(access) => access.master.clone().unwrap_or_default(),
        Source::Manifests(_) => "none".to_owned(),
    };
    for (args, expected) in [
        (&["--master", "--odd"][..], "--odd"),
        (&["--master=--odd"], "--odd"),
        (&["--master=a=b"], "a=b"),
        (&["--master=a", "--master=b"], "b"),
        (&["--master="], ""),
        (&[""], ""),
    ] {
        assert_eq!(master(&config(args)), expected, "{args:?}");
    }
    sets(&["--masquerade_all=T"], |c| c.node().masquerade_all);
    sets(&["--masquerade-all=1", "--masquerade-all=f"], |c| !c.node().masquerade_all);
    sets(&["-v=3", "-v", "4"], |c| c.logging.verbosity == 4);
    sets(&["--v=5"], |c| c.logging.verbosity == 5);
    sets(&["--v=2147483647"], |c| c.logging.verbosity == 2_147_483_647);
    let prefix = format!("--pod-interface-name-prefix={FIFTEEN}");
    sets(
        &["--detect-local-mode=InterfaceNamePrefix", &prefix],
        |c| matches!(&c.node().detect_local, DetectLocal::InterfaceNamePrefix(name) if &**name == FIFTEEN),
    );
    sets(&["--proxy_mode=ipvs", "--mode=mine"], |c| c.mode == ModeSelection::Explicit(ProxyMode::new(MINE)));
    sets(&["--mode=auto"], |c| c.mode == ModeSelection::Auto);
    sets(&["--mode="], |c| c.mode == ModeSelection::Unset);
    sets(&["--feature-gates=AllAlpha=true", "--feature-gates= ComponentFlagz = false "], |c| {
        c.gates.is_on("LoggingAlphaOptions") && !c.gates.is_on("ComponentFlagz")
    });
}

#[test]
fn an_invalid_command_line_is_rejected_on_one_line_with_a_hint() {
    for (args, expected) in [
        (&["--bogus"][..], "unknown flag --bogus, see --help"),
        (&["--bogus=1"], "unknown flag --bogus, see --help"),
        (&["--Mode=nftables"], "unknown flag --Mode, see --help"),
        (&["--mod"], "unknown flag --mod, see --help"),
        (&["-x"], "unknown flag -x, see --help"),
        (&["--two\nlines"], "unknown flag --two\\nlines, see --help"),
        (&["--help", "--bogus"], "unknown flag --bogus, see --help"),
        (&["run"], "unexpected argument \"run\", see --help"),
        (&["--", "--mode=x"], "unexpected argument \"--mode=x\", see --help"),
        (&["--masquerade-all", "true"], "unexpected argument \"true\", see --help"),
        (&["two\nlines"], "unexpected argument \"two\\nlines\", see --help"),
        (&["--mode"], "flag --mode needs a value, see --help"),
        (&["-v"], "flag -v needs a value, see --help"),
        (&["-v+1"], "invalid value \"+1\" for -v: not an integer from 0 to 2147483647"),
        (
            &["--feature-gates=A"],
            "invalid value \"A\" for --feature-gates: not a list such as A=true,B=false",
        ),
        (
            &["--nodeport-addresses=\"a"],
            "invalid value \"\\\"a\" for --nodeport-addresses: not a comma-separated list",
        ),
        (
            &["--version=1.36.2"],
            "invalid value \"1.36.2\" for --version: not true, false, raw, or a version that starts with v",
        ),
    ] {
        assert_eq!(error(args), expected, "{args:?}");
    }
}

#[test]
fn a_value_that_is_not_utf8_is_rejected() {
    use std::os::unix::ffi::OsStringExt;
    for bytes in [&b"--master=\xff"[..], b"\xff", b"--\xff"] {
        let args = ["portolan".into(), OsString::from_vec(bytes.to_vec())];
        assert!(parse(args, &Environment { hostname: &|| Ok("n".into()), modes: &[] }).is_err(), "{bytes:?}");
    }
}

#[test]
fn help_precedes_version_and_both_precede_errors() {
    assert!(matches!(parse_args(&["--version", "-h", "--cluster-cidr=bad"]), Ok(Invocation::Help(_))));
    assert!(matches!(
        parse_args(&["--cleanup", "--version", "--cluster-cidr=bad"]),
        Ok(Invocation::Version(_))
    ));
    let Ok(Invocation::Version(raw)) = parse_args(&["--version=raw"]) else { panic!() };
    assert!(raw.contains(GIT_VERSION), "{raw}");
    sets(&["--version=false", "--help=F", "--cleanup=0"], |c| c.reported_version == GIT_VERSION);
    sets(&["--version=v1.36.2-distro.3"], |c| c.reported_version == "v1.36.2-distro.3");
    assert!(matches!(parse_args(&["--cleanup", "--init-only"]), Ok(Invocation::Cleanup(_))));
    let written = parse_args(&["--cleanup", "--init-only", "--write-config-to=x"]);
    assert!(matches!(written, Ok(Invocation::WriteConfig { .. })));
    assert!(
        error(&["--write-config-to=x", "--cluster-cidr=bad"]).contains("ClusterCIDRs[0]"),
        "checked first"
    );
}

#[test]
fn all_errors_are_reported_at_once() {
    assert_eq!(
        error(&["--oom-score-adj=2000", "--cluster-cidr=bad", "--mode=bad", "--conntrack-min=-3"]),
        "[KubeProxyConfiguration.KubeProxyLinuxConfiguration.KubeProxyConntrackConfiguration.Min: Invalid value: -3: must be \
         greater than or equal to 0, KubeProxyConfiguration.KubeProxyLinuxConfiguration.OOMScoreAdj: Invalid value: 2000: must \
         be within the range [-1000, 1000], KubeProxyConfiguration.Mode.ProxyMode: Invalid value: \"bad\": must be auto, iptables, \
         ipvs, mine, nftables, userspace or blank (blank means the best that this host can do), \
         KubeProxyConfiguration.DetectLocalConfiguration.ClusterCIDRs[0]: Invalid value: \"bad\": must be a valid CIDR block (e.g. \
         10.100.0.0/16 or fde4:8dba:82e1::/48)]"
    );
}

#[test]
fn invalid_addresses_and_interfaces_are_rejected_with_the_invalid_part() {
    const PAIR: &str =
        "must be either a single CIDR or a dual-stack pair of CIDRs (e.g. 10.100.0.0/16,fde4:8dba:82e1::/48)";
    const LOCAL: &str = "KubeProxyConfiguration.DetectLocalConfiguration";
    let bridge = "--detect-local-mode=BridgeInterface";
    let prefix = "--detect-local-mode=InterfaceNamePrefix";
    for (args, expected) in [
        (&["--cluster-cidr=10.0.0.0/8,11.0.0.0/8"][..], format!("{LOCAL}.ClusterCIDRs: Invalid value: \"10.0.0.0/8,11.0.0.0/8\": {PAIR}")),
        (&["--cluster-cidr=10.0.0.0/8,fd00::/8,x"], format!("{LOCAL}.ClusterCIDRs: Invalid value: \"10.0.0.0/8,fd00::/8,x\": {PAIR}")),
        (
            &[bridge, "--pod-bridge-interface=a-name-too-long0"],
            format!("{LOCAL}.InterfaceName: Invalid value: \"a-name-too-long0\": must not be longer than the 15 bytes of an interface name"),
        ),
        (
            &[bridge, "--pod-bridge-interface=a bridge"],
            format!("{LOCAL}.InterfaceName: Invalid value: \"a bridge\": must not have a blank, control character, slash, colon or quote"),
        ),
        (
            &[prefix, "--pod-interface-name-prefix=veth/"],
            format!("{LOCAL}.InterfacePrefix: Invalid value: \"veth/\": must not have a blank, control character, slash, colon or quote"),
        ),
        (
            &["--nodeport-addresses=primary,primary"],
            "[KubeProxyConfiguration.NodePortAddresses[0]: Invalid value: \"primary\": can't use both 'primary' and CIDRs, \
             KubeProxyConfiguration.NodePortAddresses[1]: Invalid value: \"primary\": can't use both 'primary' and CIDRs]"
                .to_owned(),
        ),
        (
            &["--nodeport-addresses=Primary"],
            "KubeProxyConfiguration.NodePortAddresses[0]: Invalid value: \"Primary\": must be a valid CIDR".to_owned(),
        ),
    ] {
        assert_eq!(error(args), expected, "{args:?}");
    }
    sets(&["--pod-bridge-interface=an-interface-too-long"], |c| c.notes.is_empty());
    sets(&["--detect-local-mode=NodeCIDR", "--cluster-cidr=bad"], |c| c.notes.is_empty());
}

#[test]
fn period_flags_apply_in_their_modes() {
    let ms = Duration::from_millis;
    let both = [
        "--iptables-sync-period=40s",
        "--iptables-min-sync-period=4s",
        "--ipvs-sync-period=50s",
        "--ipvs-min-sync-period=5s",
    ];
    for (mode, min, max) in [
        ("", 4, 40),
        ("auto", 4, 40),
        ("iptables", 4, 40),
        ("nftables", 4, 40),
        ("userspace", 4, 40),
        (MINE, 4, 40),
        ("ipvs", 5, 50),
    ] {
        let mode = format!("--mode={mode}");
        let config = config(&[&both[..], &[&mode]].concat());
        assert_eq!(config.sync, SyncPeriods { min: ms(min * 1000), max: ms(max * 1000) }, "{mode}");
    }
}

#[test]
fn the_requested_mode_selects_the_section() {
    use portolan_core::node::NodePortSelection::{Cidrs, Primary};
    for (mode, mark, node_ports) in [
        ("", 1 << 5, Cidrs(vec![])),
        ("iptables", 1 << 5, Cidrs(vec![])),
        ("ipvs", 1 << 5, Cidrs(vec![])),
        ("userspace", 1 << 5, Cidrs(vec![])),
        ("nftables", 1 << 14, Primary),
        ("auto", 1 << 14, Primary),
        (MINE, 1 << 14, Primary),
    ] {
        let node =
            config(&["--iptables-masquerade-bit=5", "--masquerade-all", &format!("--mode={mode}")]).node();
        assert_eq!((node.masquerade_mark, node.node_port_addresses), (mark, node_ports), "{mode:?}");
        assert!(node.masquerade_all, "{mode:?}");
    }
}

#[test]
fn deprecated_port_flags_complete_addresses_with_a_warning() {
    let health = |args: &[&str]| config(args).healthz_address.map(|address| address.to_string());
    for (args, expected) in [
        (&["--healthz-port=9"][..], Some("0.0.0.0:10256")),
        (&["--healthz-port=9", "--healthz-bind-address=1.2.3.4"], Some("1.2.3.4:9")),
        (&["--healthz-port=9", "--healthz-bind-address=::1"], Some("[::1]:9")),
        (&["--healthz-port=9", "--healthz-bind-address=1.2.3.4:80"], Some("1.2.3.4:80")),
        (&["--healthz-port=70000"], Some("0.0.0.0:10256")),
        (&["--healthz-port=0", "--healthz-bind-address=1.2.3.4:80"], None),
        (&["--healthz-bind-address="], Some("0.0.0.0:10256")),
    ] {
        assert_eq!(health(args).as_deref(), expected, "{args:?}");
    }
    let notes = config(&["--healthz-port=9"]).notes;
    let warning =
        "this flag is deprecated and will be removed in a future release, use --healthz-bind-address instead";
    assert_eq!(notes, [Note::warning("--healthz-port", warning)]);
    let Ok(Invocation::WriteConfig { yaml, .. }) =
        parse_args(&["--write-config-to=x", "--healthz-port=0", "--metrics-port=0"])
    else {
        panic!()
    };
    assert!(yaml.contains("healthzBindAddress: 0.0.0.0:10256\n"), "{yaml}");
}

#[test]
fn a_host_without_a_name_is_an_error_if_no_setting_names_the_node() {
    let unreadable = || Err(io::Error::other("gone"));
    let with = |args: &[&str], hostname: &dyn Fn() -> io::Result<String>| {
        let args = std::iter::once("portolan").chain(args.iter().copied()).map(OsString::from);
        parse(args, &Environment { hostname, modes: &[] })
    };
    assert!(with(&["--hostname-override=n"], &unreadable).is_ok());
    assert!(with(&["--write-config-to=x"], &unreadable).is_ok());
    assert!(matches!(with(&[], &unreadable), Err(ConfigError::Hostname { .. })));
    assert!(matches!(with(&[], &|| Ok("\n".into())), Err(ConfigError::EmptyHostname)));
    sets(&["--hostname-override="], |c| &*c.node().node_name == "host-1");
}
