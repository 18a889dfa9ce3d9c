//! Connection tracking's settings, which only the initial network namespace takes.

use std::fs;
use std::time::Duration;

use portolan_config::Conntrack;
use portolan_host::{Host, HostError, Outcome, SysctlResult};
use portolan_testkit::netns::{ManifestFolder, Namespace, Portolan, Program};
use portolan_tests_vm::{Kernel, Vm, in_guest, proxy};

const CPUS: u32 = 2;

fn machine() -> Vm {
    Vm::new(Kernel::Bookworm).cpus(CPUS)
}

/// Settings of which none is the kernel's own.
fn settings() -> Conntrack {
    Conntrack {
        max_per_core: 100_000,
        min: 1,
        tcp_established_timeout: Duration::from_secs(86_400),
        tcp_close_wait_timeout: Duration::from_secs(3_600),
        tcp_be_liberal: true,
        udp_timeout: Duration::from_secs(31),
        udp_stream_timeout: Duration::from_secs(121),
    }
}

fn number(path: &str) -> u32 {
    fs::read_to_string(path).unwrap().trim().parse().unwrap()
}

fn netfilter(name: &str) -> u32 {
    number(&format!("/proc/sys/net/netfilter/nf_conntrack_{name}"))
}

#[test]
fn settings_are_effective_after_they_were_made() {
    in_guest(machine().modules(["nf_conntrack"]), || {
        let host = Host::new();
        assert_eq!(host.cpus(), CPUS as usize);
        let tuned = host.tune_conntrack(&settings());
        assert_eq!(tuned.len(), 7, "{tuned:#?}");
        assert!(tuned.iter().all(|tuned| matches!(tuned.outcome, Outcome::Set { .. })), "{tuned:#?}");
        assert_eq!(netfilter("max"), 100_000 * CPUS);
        // The kernel rounds up to whole pages.
        let buckets = number("/sys/module/nf_conntrack/parameters/hashsize");
        assert!((50_000..51_000).contains(&buckets), "{buckets}");
        assert_eq!(netfilter("buckets"), buckets);
        assert_eq!(netfilter("tcp_timeout_established"), 86_400);
        assert_eq!(netfilter("tcp_timeout_close_wait"), 3_600);
        assert_eq!(netfilter("tcp_be_liberal"), 1);
        assert_eq!(netfilter("udp_timeout"), 31);
        assert_eq!(netfilter("udp_timeout_stream"), 121);
        let again = host.tune_conntrack(&settings());
        assert!(again.iter().all(|tuned| matches!(tuned.outcome, Outcome::Kept)), "{again:#?}");
    });
}

#[test]
fn without_the_module_each_setting_says_that_its_file_is_not_there() {
    in_guest(machine(), || {
        let is_absent =
            |tuned: &SysctlResult| matches!(tuned.outcome, Outcome::Failed(HostError::Absent { .. }));
        let tuned = Host::new().tune_conntrack(&settings());
        // The size of the hash table is not tried where there is no maximum.
        assert_eq!(tuned.iter().filter(|tuned| is_absent(tuned)).count(), 6, "{tuned:#?}");
        assert_eq!(tuned.len(), 6);
    });
}

/// A machine that has the proxy.
fn machine_with_proxy() -> Vm {
    let binary = proxy().unwrap();
    let vm = machine().network_programs().copy(&binary).variable("PORTOLAN_BIN", binary);
    vm.memory(1024).patience(3 * PATIENCE)
}

/// Emulated processors are slow, and share what there is with other tests.
const PATIENCE: Duration = Duration::from_secs(120);

/// The log of a proxy that asks for other settings than the kernel's own, when its initial sync has completed.
fn log_of_proxy_in(namespace: &Namespace) -> String {
    let folder = ManifestFolder::create().unwrap();
    let settings = ["--conntrack-max-per-core=100000", "--conntrack-min=1", "--conntrack-udp-timeout=31s"];
    let flags = Portolan::flags(&folder).into_iter().chain(settings.map(str::to_owned));
    let mut proxy = Portolan::start(namespace, flags).unwrap();
    proxy.wait_synced(PATIENCE).unwrap();
    let log = proxy.log().unwrap();
    assert!(proxy.terminate(PATIENCE).unwrap().success());
    log
}

#[test]
fn the_proxy_makes_the_settings_of_a_host_that_tracked_nothing_before() {
    in_guest(machine_with_proxy(), || {
        assert!(!fs::exists("/proc/sys/net/netfilter/nf_conntrack_max").unwrap());
        Program::new("ip").args(["netns", "attach", "initial", "1"]).run().unwrap();
        let log = log_of_proxy_in(&Namespace::open("initial").unwrap());
        assert_eq!(netfilter("max"), 100_000 * CPUS, "{log}");
        assert_eq!(netfilter("udp_timeout"), 31, "{log}");
        assert!(netfilter("buckets") >= 50_000, "{log}");
        assert!(!log.contains("Failed to set sysctl"), "{log}");
    });
}

#[test]
fn where_the_settings_are_not_the_proxys_to_make_it_warns_and_serves() {
    in_guest(machine_with_proxy().modules(["nf_conntrack"]), || {
        let before = netfilter("max");
        let node = Namespace::create("node").unwrap();
        node.ip("link set lo up").unwrap();
        let log = log_of_proxy_in(&node);
        assert_eq!(netfilter("max"), before);
        let warnings: Vec<_> = log.lines().filter(|line| line.contains("Failed to set sysctl")).collect();
        let [warning] = warnings[..] else { panic!("{log}") };
        assert!(warning.starts_with('W') && warning.contains("nf_conntrack_max to 200000"), "{warning}");
        assert!(warning.contains("--init-only"), "{warning}");
    });
}
