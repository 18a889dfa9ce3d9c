//! Settings in a folder, and a read-only one of the kernel.

use std::io::ErrorKind;

use super::*;

/// A host with one sysctl.
fn host_with(path: &str, text: &str) -> (tempfile::TempDir, Host) {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("proc/sys").join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
    let host = Host::at(root.path());
    (root, host)
}

/// The failure of a setting, in words.
fn failure(tuned: SysctlResult) -> String {
    match tuned.outcome {
        Outcome::Failed(error) => error.to_string(),
        other => panic!("{}: {other:?}", tuned.sysctl),
    }
}

#[test]
fn a_different_value_is_written_and_reported() {
    let (root, host) = host_with("net/ipv4/ip_forward", "0\n");
    let tuned = host.set_sysctl("net/ipv4/ip_forward", 1);
    assert_eq!(tuned.sysctl, "/proc/sys/net/ipv4/ip_forward");
    assert!(matches!(tuned.outcome, Outcome::Set { from: 0, to: 1 }), "{tuned:?}");
    assert_eq!(fs::read_to_string(root.path().join("proc/sys/net/ipv4/ip_forward")).unwrap(), "1");
}

#[test]
fn an_equal_value_is_not_written() {
    let (root, host) = host_with("net/ipv4/ip_forward", " 1\n");
    let tuned = host.set_sysctl("net/ipv4/ip_forward", 1);
    assert!(matches!(tuned.outcome, Outcome::Kept), "{tuned:?}");
    assert_eq!(fs::read_to_string(root.path().join("proc/sys/net/ipv4/ip_forward")).unwrap(), " 1\n");
}

#[test]
fn a_missing_file_is_named_and_not_created() {
    let (root, host) = host_with("net/other", "1");
    let message = failure(host.set_sysctl("net/netfilter/nf_conntrack_max", 131_072));
    assert_eq!(
        message,
        "cannot set /proc/sys/net/netfilter/nf_conntrack_max to 131072: it does not exist; its kernel module may \
         not be loaded"
    );
    assert!(!root.path().join("proc/sys/net/netfilter").exists());
}

#[test]
fn a_read_only_sysctl_is_reported_with_a_remedy() {
    // Always read-only (kernel/sysctl.c).
    let tuned = Host::new().set_sysctl("kernel/ngroups_max", 1);
    assert!(matches!(tuned.outcome, Outcome::Failed(HostError::ReadOnly { wanted: 1, .. })), "{tuned:?}");
    let message = failure(tuned);
    // `--init-only` ends with this error, too.
    let expected = "cannot set /proc/sys/kernel/ngroups_max to 1: it is read-only here; set it on the host or in a \
                    privileged container";
    assert!(message.starts_with(expected) && !message.contains("--init-only"), "{message}");
}

#[test]
fn a_read_only_sysctl_with_the_right_value_is_no_error() {
    let tuned = Host::new().set_sysctl("kernel/ngroups_max", 65_536);
    assert!(matches!(tuned.outcome, Outcome::Kept), "{tuned:?}");
}

#[test]
fn errors_of_writes_are_distinguished() {
    let of = |kind: ErrorKind| HostError::of_write("/proc/sys/x", 1, kind.into());
    assert!(matches!(of(ErrorKind::ReadOnlyFilesystem), HostError::ReadOnly { .. }));
    assert!(matches!(of(ErrorKind::PermissionDenied), HostError::ReadOnly { .. }));
    let eperm = HostError::of_write("/proc/sys/x", 1, io::Error::from_raw_os_error(nix::libc::EPERM));
    assert!(matches!(eperm, HostError::ReadOnly { .. }));
    assert!(matches!(of(ErrorKind::NotFound), HostError::Absent { .. }));
    assert!(matches!(of(ErrorKind::InvalidInput), HostError::Rejected { .. }));
}

#[test]
fn a_value_that_is_not_a_number_is_quoted_and_kept() {
    let (root, host) = host_with("net/names", "cubic reno\n");
    let message = failure(host.set_sysctl("net/names", 1));
    assert_eq!(message, "/proc/sys/net/names contains \"cubic reno\" (want an integer)");
    assert_eq!(fs::read_to_string(root.path().join("proc/sys/net/names")).unwrap(), "cubic reno\n");
}

#[test]
fn a_sysctl_is_read_as_a_number() {
    let (_root, host) = host_with("net/ipv4/ip_forward", "1\n");
    assert_eq!(host.sysctl("net/ipv4/ip_forward").unwrap(), 1);
    let missing = host.sysctl("net/other").unwrap_err().to_string();
    assert_eq!(missing, "cannot read /proc/sys/net/other");
    let (_root, host) = host_with("net/names", "cubic reno\n");
    assert!(matches!(host.sysctl("net/names"), Err(HostError::Unexpected { .. })));
}

#[test]
fn the_oom_score_of_the_process_is_set() {
    let (root, host) = host_with("net/other", "1");
    fs::create_dir_all(root.path().join("proc/self")).unwrap();
    let file = root.path().join("proc/self/oom_score_adj");
    fs::write(&file, "0\n").unwrap();
    host.set_oom_score_adj(-999).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "-999");
    fs::remove_file(&file).unwrap();
    let error = host.set_oom_score_adj(-999).unwrap_err();
    assert!(matches!(error, HostError::Absent { wanted: -999, .. }), "{error:?}");
}
