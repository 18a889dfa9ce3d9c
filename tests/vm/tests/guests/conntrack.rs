//! Connection tracking's settings, which only the initial network namespace takes.

use std::fs;
use std::time::Duration;

use portolan_host::{ConntrackSettings, Host, HostError, Outcome, Tuned};
use portolan_tests_vm::{Kernel, Vm, in_guest};

const CPUS: u32 = 2;

fn machine() -> Vm {
    Vm::new(Kernel::Bookworm).cpus(CPUS)
}

/// Settings of which none is the kernel's own.
fn settings() -> ConntrackSettings {
    ConntrackSettings {
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
fn the_settings_are_in_force_after_they_were_made() {
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
        let is_absent = |tuned: &Tuned| matches!(tuned.outcome, Outcome::Failed(HostError::Absent { .. }));
        let tuned = Host::new().tune_conntrack(&settings());
        // The size of the hash table is not tried where there is no maximum.
        assert_eq!(tuned.iter().filter(|tuned| is_absent(tuned)).count(), 6, "{tuned:#?}");
        assert_eq!(tuned.len(), 6);
    });
}
