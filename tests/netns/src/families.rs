//! A host whose iptables can serve one family alone.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use portolan_core::IpFamily;
use portolan_testkit::netns::{NODE_V6, Portolan, isolated, wait_until};
use portolan_testkit::shop::PORT;

use crate::modes::Mode;
use crate::stage::{HEALTH, PATIENCE, Stage, WEB, exit_code, program, socket, start_by};

/// What an ip6tables says where the kernel has not got its table.
const WITHOUT_NAT: &str = "#!/bin/sh
case \"$1\" in
--version) echo 'ip6tables v1.8.9 (nf_tables)' ;;
*) echo \"can't initialize ip6tables table \\`nat': Table does not exist\" >&2; exit 3 ;;
esac
";

/// A folder with the programs of one family, and these in the place of the other's.
fn programs_of(family: IpFamily, others: Option<&str>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (name, other) =
        if family == IpFamily::V4 { ("iptables", "ip6tables") } else { ("ip6tables", "iptables") };
    for end in ["", "-save", "-restore"] {
        symlink(program(&format!("{name}{end}")), folder.path().join(format!("{name}{end}"))).unwrap();
        if let Some(text) = others {
            let file = folder.path().join(format!("{other}{end}"));
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
        }
    }
    folder
}

/// Starts the proxy in iptables mode with these programs alone.
fn start(stage: &Stage, programs: &tempfile::TempDir, more: &[&str]) -> Portolan {
    let mut words = vec![format!("PATH={}", programs.path().display())];
    words.push(Portolan::binary().unwrap().display().to_string());
    words.extend(stage.flags());
    words.extend([stage.mode.flag(), "--mode-fallback=false".to_owned()]);
    words.extend(more.iter().map(|flag| (*flag).to_owned()));
    start_by(stage, "env", &words)
}

/// The line that says why IPv6 is left out, where the other family is served.
fn left_out_by(of_ipv6: Option<&str>) -> String {
    let stage = Stage::in_mode(Mode::Iptables, 1);
    stage.serve_web_by(&[1]);
    let programs = programs_of(IpFamily::V4, of_ipv6);
    let mut proxy = start(&stage, &programs, &[]);
    let is_healthy = |proxy: &Portolan| proxy.get(HEALTH, "/healthz").is_ok_and(|reply| reply.status == 200);
    proxy.wait_until("it is healthy", PATIENCE, is_healthy).unwrap();
    assert_eq!(stage.client().connect_tcp(socket(WEB[0], PORT)).unwrap().pod, "pod1");
    let log = proxy.log().unwrap();
    assert!(proxy.terminate(PATIENCE).unwrap().success());
    assert!(!log.lines().any(|line| line.starts_with('E') && line.contains("IPv6")), "{log}");
    let line = log.lines().find(|line| line.contains("a family is left out"));
    line.unwrap_or_else(|| panic!("{log}")).to_owned()
}

#[test]
fn without_ip6tables_the_iptables_mode_serves_ipv4_alone() {
    isolated(|| {
        let line = left_out_by(None);
        assert!(
            line.contains("IPv6") && line.contains("the program ip6tables, which is not in PATH"),
            "{line}"
        );
    });
}

#[test]
fn with_an_ip6tables_that_has_no_nat_the_iptables_mode_serves_ipv4_alone() {
    isolated(|| {
        let line = left_out_by(Some(WITHOUT_NAT));
        assert!(line.contains("IPv6") && line.contains("Table does not exist"), "{line}");
    });
}

#[test]
fn a_family_that_comes_first_and_cannot_be_served_ends_the_proxy() {
    isolated(|| {
        let stage = Stage::in_mode(Mode::Iptables, 1);
        let programs = programs_of(IpFamily::V4, None);
        let mut proxy = start(&stage, &programs, &[&format!("--bind-address={NODE_V6}")]);
        assert_eq!(exit_code(&mut proxy), Some(1));
        let log = proxy.log().unwrap();
        assert!(log.contains(&format!("the family of bindAddress {NODE_V6} comes first")), "{log}");
    });
}

#[test]
fn a_family_that_the_node_has_first_and_cannot_be_served_is_an_error_in_the_log() {
    isolated(|| {
        let stage = Stage::in_mode(Mode::Iptables, 1);
        stage.serve_web_by(&[1]);
        let programs = programs_of(IpFamily::V6, None);
        let mut proxy = start(&stage, &programs, &[]);
        let is_told = |proxy: &Portolan| {
            let log = proxy.log().unwrap();
            log.lines().any(|line| line.starts_with('E') && line.contains("comes first on this node"))
        };
        proxy.wait_until("the Node is known", PATIENCE, is_told).unwrap();
        wait_until("IPv6 is served", PATIENCE, || stage.client().connect_tcp(socket(WEB[1], PORT)).is_ok())
            .unwrap();
        assert!(proxy.terminate(PATIENCE).unwrap().success());
    });
}
