//! What connection tracking is set to, in a folder.

use std::collections::BTreeMap;
use std::fs;

use super::*;
use crate::HostError;

const DIRECTORY: &str = "proc/sys/net/netfilter";

/// kube-proxy's defaults.
fn usual() -> Conntrack {
    Conntrack {
        max_per_core: 32_768,
        min: 131_072,
        tcp_established_timeout: Duration::from_secs(86_400),
        tcp_close_wait_timeout: Duration::from_secs(3_600),
        ..Conntrack::default()
    }
}

/// A host with so many CPUs and a kernel's own values.
fn host(cpus: usize) -> (tempfile::TempDir, Host) {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    for (name, value) in [
        ("max", "65536"),
        ("tcp_timeout_established", "432000"),
        ("tcp_timeout_close_wait", "60"),
        ("tcp_be_liberal", "0"),
        ("udp_timeout", "30"),
        ("udp_timeout_stream", "120"),
    ] {
        write(&format!("{DIRECTORY}/nf_conntrack_{name}"), &format!("{value}\n"));
    }
    write("sys/module/nf_conntrack/parameters/hashsize", "16384\n");
    write("sys/devices/system/cpu/online", &format!("0-{}\n", cpus - 1));
    let host = Host::at(root.path());
    (root, host)
}

/// What was set, by the end of the files' names.
fn set(tuned: Vec<SysctlResult>) -> BTreeMap<String, i64> {
    let changed = tuned.into_iter().filter_map(|tuned| match tuned.outcome {
        Outcome::Kept => None,
        Outcome::Set { to, .. } => Some((tuned.sysctl, to)),
        Outcome::Failed(error) => panic!("{error}"),
    });
    changed.map(|(name, to)| (name.rsplit('/').next().unwrap().to_owned(), to)).collect()
}

fn expected(values: &[(&str, i64)]) -> BTreeMap<String, i64> {
    values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
}

#[test]
fn max_flows_scales_with_cpus_between_the_minimum_and_the_limit() {
    let most =
        |max_per_core, min, cpus| max_flows(&Conntrack { max_per_core, min, ..Conntrack::default() }, cpus);
    assert_eq!(most(0, 0, 4), None);
    assert_eq!(most(0, 131_072, 4), None, "without a number per CPU the least means nothing");
    assert_eq!(most(10_000, 0, 4), Some(40_000));
    assert_eq!(most(10_000, 50_000, 4), Some(50_000));
    assert_eq!(most(10_000, 30_000, 4), Some(40_000));
    assert_eq!(most(32_768, 131_072, 512), Some(1_048_576));
    assert_eq!(most(32_768, 2_000_000, 512), Some(1_048_576), "the limit is stronger than the least");
    assert_eq!(most(32_768, 2_000_000, 4), Some(2_000_000), "and bounds only what grows with the CPUs");
    assert_eq!(most(u32::MAX, 0, usize::MAX), Some(1_048_576));
}

#[test]
fn the_defaults_set_four_values_once() {
    let (_root, host) = host(4);
    let wanted = expected(&[
        ("nf_conntrack_max", 131_072),
        ("hashsize", 32_768),
        ("nf_conntrack_tcp_timeout_established", 86_400),
        ("nf_conntrack_tcp_timeout_close_wait", 3_600),
    ]);
    assert_eq!(set(host.tune_conntrack(&usual())), wanted);
    assert_eq!(set(host.tune_conntrack(&usual())), expected(&[]), "the second time there is nothing to do");
}

#[test]
fn other_settings_are_set_when_requested() {
    let (_root, host) = host(4);
    let settings = Conntrack {
        tcp_be_liberal: true,
        udp_timeout: Duration::from_millis(5_900),
        udp_stream_timeout: Duration::from_millis(300),
        ..Conntrack::default()
    };
    let wanted = expected(&[
        ("nf_conntrack_tcp_be_liberal", 1),
        ("nf_conntrack_udp_timeout", 5),
        ("nf_conntrack_udp_timeout_stream", 1),
    ]);
    assert_eq!(set(host.tune_conntrack(&settings)), wanted);
}

#[test]
fn settings_that_are_zero_are_not_read() {
    let nowhere = tempfile::tempdir().unwrap();
    assert!(Host::at(nowhere.path()).tune_conntrack(&Conntrack::default()).is_empty());
}

#[test]
fn a_larger_maximum_is_lowered_and_a_larger_hash_table_is_left() {
    let (root, host) = host(4);
    fs::write(root.path().join(DIRECTORY).join("nf_conntrack_max"), "999999\n").unwrap();
    fs::write(root.path().join(HASH_SIZE.trim_start_matches('/')), "65536\n").unwrap();
    let settings = Conntrack { max_per_core: 32_768, ..Conntrack::default() };
    assert_eq!(set(host.tune_conntrack(&settings)), expected(&[("nf_conntrack_max", 131_072)]));
}

#[test]
fn a_failure_stops_no_other_setting_but_that_of_the_hash_table() {
    let (root, host) = host(4);
    fs::remove_file(root.path().join(DIRECTORY).join("nf_conntrack_max")).unwrap();
    let tuned = host.tune_conntrack(&usual());
    let [max, established, close_wait] = &tuned[..] else { panic!("{tuned:?}") };
    assert!(matches!(max.outcome, Outcome::Failed(HostError::Absent { wanted: 131_072, .. })), "{max:?}");
    assert!(matches!(established.outcome, Outcome::Set { from: 432_000, to: 86_400 }), "{established:?}");
    assert!(matches!(close_wait.outcome, Outcome::Set { from: 60, to: 3_600 }), "{close_wait:?}");
}

#[test]
fn cpus_are_those_that_are_online() {
    let counts = |list| count_cpus(list);
    assert_eq!(counts("0\n"), Some(1));
    assert_eq!(counts("0-3\n"), Some(4));
    assert_eq!(counts("0-3,6,8-9\n"), Some(7));
    for nonsense in ["", "\n", "0-", "3-1", "a", "0,,1"] {
        assert_eq!(counts(nonsense), None, "{nonsense:?}");
    }
}

#[test]
fn without_sysfs_the_cpus_of_the_process_are_counted() {
    let empty = tempfile::tempdir().unwrap();
    assert!((1..=Host::new().cpus()).contains(&Host::at(empty.path()).cpus()));
}

#[test]
fn the_online_cpus_of_this_host_are_counted() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("sys/devices/system/cpu")).unwrap();
    fs::write(root.path().join("sys/devices/system/cpu/online"), "0-511\n").unwrap();
    assert_eq!(Host::at(root.path()).cpus(), 512);
}
