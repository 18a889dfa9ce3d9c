//! What other modes need, on hosts that have it and on hosts that lack it.

use std::path::Path;

use portolan_backend_ipvs::IpvsFactory;
use portolan_core::{BackendFactory as _, IpFamily};
use portolan_iptables::programs::probe;
use portolan_ipvs::Servers;
use portolan_testkit::block_on;
use portolan_tests_vm::{Kernel, Vm, in_guest};

/// What iptables loads for each kind of match and target.
const EXTENSIONS: &str = "/usr/lib/x86_64-linux-gnu/xtables";

fn machine() -> Vm {
    Vm::new(Kernel::Bookworm)
}

#[test]
fn ipvs_is_found_where_its_module_can_be_loaded_and_no_server_is_made() {
    in_guest(machine(), || {
        assert!(!Path::new("/proc/net/ip_vs").exists());
        assert!(Servers::load().unwrap().is_some());
        let servers = std::fs::read_to_string("/proc/net/ip_vs").unwrap();
        assert_eq!(servers.lines().count(), 3, "{servers}");
        assert!(Servers::open().unwrap().is_some());
    });
}

#[test]
fn ipvs_is_missing_where_its_module_is() {
    in_guest(machine().without(["ip_vs"]), || {
        let failure = block_on(IpvsFactory::default().probe()).unwrap_err();
        assert_eq!(failure.missing, "the kernel module ip_vs, which is neither loaded nor could be loaded");
    });
}

/// A machine whose programs of iptables are of one variant.
fn with_iptables(variant: &str) -> Vm {
    ["iptables", "ip6tables"].into_iter().fold(machine().copy(EXTENSIONS), |vm, family| {
        ["", "-save", "-restore"].into_iter().fold(vm, |vm, part| {
            vm.program_as(format!("{family}-{variant}{part}"), format!("{family}{part}"))
        })
    })
}

#[test]
fn iptables_that_write_nf_tables_fit() {
    in_guest(with_iptables("nft"), || {
        assert_eq!(IpFamily::ALL.map(probe), [Ok(()), Ok(())]);
    });
}

#[test]
fn iptables_that_write_their_own_tables_fit() {
    in_guest(with_iptables("legacy"), || {
        assert_eq!(IpFamily::ALL.map(probe), [Ok(()), Ok(())]);
    });
}

#[test]
fn iptables_without_their_modules_are_quoted() {
    in_guest(with_iptables("legacy").without(["iptable_nat"]), || {
        let missing = probe(IpFamily::V4).unwrap_err();
        assert!(missing.starts_with("a working /usr/sbin/iptables: iptables v1."), "{missing}");
        assert!(missing.contains("can't initialize iptables table `nat'"), "{missing}");
        probe(IpFamily::V6).unwrap();
    });
}
