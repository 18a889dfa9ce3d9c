//! `--init-only` of the real binary, and a proxy after it that can no longer write sysctls.
//!
//! What it sets for the ipvs mode is seen in virtual machines: `tests/vm/tests/guests/proxy.rs`.

use std::fs;

use portolan_testkit::netns::{Caller, Portolan, Program, isolated};
use portolan_testkit::shop::NODE_PORT;

use crate::modes::Mode;
use crate::stage::{PATIENCE, Stage, exit_code};

const ROUTE_LOCALNET: &str = "net/ipv4/conf/all/route_localnet";
const ESTABLISHED: &str = "net/netfilter/nf_conntrack_tcp_timeout_established";

/// The most flows are the whole host's to say, and stay as they are.
const NO_MAXIMUM: &str = "--conntrack-max-per-core=0";
/// Asks for as many as there are processors, which no host has.
const OTHER_MAXIMUM: [&str; 2] = ["--conntrack-max-per-core=1", "--conntrack-min=1"];

/// A node whose settings are none that a proxy asks for.
fn untouched() -> Stage {
    let stage = Stage::in_mode(Mode::Iptables, 2);
    stage.serve_web_by(&[1, 2]);
    stage.net.node().sysctl(&[(ROUTE_LOCALNET, "0"), (ESTABLISHED, "7")]).unwrap();
    stage
}

fn value(stage: &Stage, sysctl: &str) -> String {
    let read = || fs::read_to_string(format!("/proc/sys/{sysctl}")).unwrap().trim().to_owned();
    stage.net.node().run(read).unwrap()
}

/// As a container without privileges has it, in the mounts of this test alone.
fn forbid_to_write_sysctls() {
    Program::new("mount").args(["--bind", "-o", "ro", "/proc/sys", "/proc/sys"]).run().unwrap();
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap_err();
}

/// Runs it to its end: how that was, and what it logged.
fn init_only(stage: &Stage, more: &[&str]) -> (Option<i32>, String) {
    let flags: Vec<_> = ["--init-only", "--mode=iptables"].iter().chain(more).copied().collect();
    let mut proxy: Portolan = stage.start(&flags);
    (exit_code(&mut proxy), proxy.log().unwrap())
}

#[test]
fn init_only_sets_route_localnet_in_iptables_mode_and_writes_no_rules() {
    isolated(|| {
        let stage = untouched();
        let (code, log) = init_only(&stage, &[NO_MAXIMUM]);
        assert_eq!(code, Some(0), "{log}");
        assert_eq!((value(&stage, ROUTE_LOCALNET), value(&stage, ESTABLISHED)), ("1".into(), "86400".into()));
        let listed = stage.mode.listed(stage.net.node());
        assert!(!listed.contains("KUBE-") && !listed.contains("-A "), "{listed}");
        // Nothing is left to be written, so nothing can fail.
        forbid_to_write_sysctls();
        let (code, log) = init_only(&stage, &[NO_MAXIMUM]);
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains("cannot set /proc/sys"), "{log}");
    });
}

#[test]
fn init_only_leaves_route_localnet_where_node_ports_do_not_answer_on_loopback() {
    isolated(|| {
        let stage = untouched();
        for reason in ["--iptables-localhost-nodeports=false", "--mode=nftables"] {
            stage.net.node().sysctl(&[(ESTABLISHED, "7")]).unwrap();
            let (code, log) = init_only(&stage, &[NO_MAXIMUM, reason]);
            assert_eq!(code, Some(0), "{log}");
            assert_eq!(value(&stage, ROUTE_LOCALNET), "0", "{reason}: {log}");
            assert_eq!(value(&stage, ESTABLISHED), "86400", "{reason}: {log}");
        }
    });
}

#[test]
fn init_only_fails_for_a_setting_that_it_cannot_make_and_makes_the_others() {
    isolated(|| {
        let stage = untouched();
        // Only the host's own network namespace may set it.
        let (code, log) = init_only(&stage, &OTHER_MAXIMUM);
        assert_eq!(code, Some(1), "{log}");
        let last = log.lines().last().unwrap_or_default();
        assert!(last.contains("cannot set /proc/sys/net/netfilter/nf_conntrack_max to "), "{log}");
        assert_eq!((value(&stage, ROUTE_LOCALNET), value(&stage, ESTABLISHED)), ("1".into(), "86400".into()));
    });
}

#[test]
fn init_only_names_each_sysctl_that_it_may_not_write() {
    isolated(|| {
        let stage = untouched();
        forbid_to_write_sysctls();
        let (code, log) = init_only(&stage, &[NO_MAXIMUM]);
        assert_eq!(code, Some(1), "{log}");
        for sysctl in [ROUTE_LOCALNET, ESTABLISHED] {
            let naming = format!("cannot set /proc/sys/{sysctl} to ");
            assert!(
                log.lines().any(|line| line.starts_with('E') && line.contains(&naming)),
                "{sysctl}: {log}"
            );
        }
        assert!(!log.contains("privileged init container"), "advice to run itself: {log}");
        assert_eq!((value(&stage, ROUTE_LOCALNET), value(&stage, ESTABLISHED)), ("0".into(), "7".into()));
    });
}

#[test]
fn after_init_only_a_proxy_that_may_not_write_sysctls_serves_loopback_without_a_warning() {
    isolated(|| {
        let stage = untouched();
        let (code, log) = init_only(&stage, &[NO_MAXIMUM]);
        assert_eq!(code, Some(0), "{log}");
        forbid_to_write_sysctls();
        let mut proxy = stage.start(&[&stage.mode.flag(), NO_MAXIMUM]);
        proxy.wait_synced(PATIENCE).unwrap();
        let log = proxy.log().unwrap();
        assert!(!log.contains("cannot set /proc/sys"), "{log}");
        let on_node = Caller::from(stage.net.node());
        on_node.connect_tcp(([127, 0, 0, 1], NODE_PORT).into()).unwrap();
        assert!(proxy.terminate(PATIENCE).unwrap().success());
    });
}
