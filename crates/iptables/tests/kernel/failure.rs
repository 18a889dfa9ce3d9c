//! What cannot be removed is an error, and the rest is removed.

use std::fs;

use portolan_core::backend::{CleanupFailure, error_chain};
use portolan_iptables::stale::{Mode, StaleError};
use portolan_testkit::netns::{Program, isolated};
use portolan_testkit::upstream::Xtables;

use crate::state::{BOTH, load_foreign, load_iptables, remove, removed, saved};

/// The failed steps of a removal of both modes' chains.
fn failures() -> Vec<CleanupFailure> {
    remove(BOTH, None).failures
}

fn texts(failures: &[CleanupFailure]) -> Vec<String> {
    failures.iter().map(|failure| error_chain(&*failure.error)).collect()
}

fn error(failure: &CleanupFailure) -> &StaleError {
    failure.error.downcast_ref().unwrap()
}

/// Replaces a program by a shell script, in the test's own mounts. `real` in it is the program.
pub(crate) fn replace(program: &str, script: &str) {
    let real = Program::new("readlink").args(["-f", program]).run().unwrap();
    let (real, fake) = (real.trim(), "/run/fake");
    fs::copy(real, "/run/real").unwrap();
    fs::write(fake, format!("#!/bin/sh\nreal() {{ /run/${{0##*/}} \"$@\"; }}\n{script}\n")).unwrap();
    Program::new("chmod").args(["755", fake, "/run/real"]).run().unwrap();
    for name in [
        "iptables-legacy-save",
        "iptables-legacy-restore",
        "ip6tables-legacy-save",
        "ip6tables-legacy-restore",
    ] {
        std::os::unix::fs::symlink("/run/real", format!("/run/{name}")).unwrap();
    }
    Program::new("mount").args(["--bind", fake, real]).run().unwrap();
}

pub(crate) const LEGACY: &str = "/usr/sbin/iptables-legacy-restore";

#[test]
fn a_failing_program_is_quoted_and_other_stale_chains_are_removed() {
    isolated(|| {
        load_iptables(Xtables::Nft);
        load_iptables(Xtables::Legacy);
        let before = saved(Xtables::Legacy);
        replace(
            LEGACY,
            "case $0 in *-restore) echo 'iptables-restore: line 3 failed' >&2; exit 1;; esac\nreal \"$@\"",
        );

        let failures = failures();

        assert!(failures.iter().all(|failure| failure.found), "{failures:?}");
        let texts = texts(&failures);
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert!(texts[0].contains("iptables-legacy-restore failed at `:KUBE-"), "{texts:?}");
        assert!(texts[0].ends_with("iptables-restore: line 3 failed"), "{texts:?}");
        assert!(
            matches!(error(&failures[0]), StaleError::Rejected { line, .. } if line.starts_with(":KUBE-"))
        );
        assert!(!saved(Xtables::Nft).contains("KUBE-SERVICES"));
        Program::new("umount").args([LEGACY]).run().unwrap();
        assert_eq!(saved(Xtables::Legacy), before);
        assert!(removed(BOTH).0 > 0);
    });
}

/// A process without `CAP_NET_RAW` cannot have a raw socket, which iptables-legacy asks by.
const WITHOUT_NET_RAW: &str = "exec setpriv --bounding-set -net_raw -- /run/${0##*/} \"$@\"";

#[test]
fn legacy_tables_without_stale_chains_are_no_failure_where_the_programs_cannot_read_them() {
    isolated(|| {
        load_foreign(Xtables::Legacy);
        replace(LEGACY, WITHOUT_NET_RAW);
        let failures = failures();
        assert!(failures.is_empty(), "{failures:?}");
        Program::new("umount").args([LEGACY]).run().unwrap();
    });
}

#[test]
fn chains_in_legacy_tables_are_found_even_if_the_programs_cannot_remove_them() {
    isolated(|| {
        load_iptables(Xtables::Legacy);
        replace(LEGACY, WITHOUT_NET_RAW);
        let failures = failures();
        assert_eq!(failures.len(), 2, "{failures:?}");
        assert!(failures.iter().all(|failure| failure.found), "{failures:?}");
        let said = &texts(&failures)[0];
        assert!(said.contains("iptables-legacy-save failed") && said.contains("Permission denied"), "{said}");
        Program::new("umount").args([LEGACY]).run().unwrap();
    });
}

#[test]
fn a_program_that_prints_nonsense_removes_nothing() {
    isolated(|| {
        load_iptables(Xtables::Legacy);
        let before = saved(Xtables::Legacy);
        replace(LEGACY, "echo '*nat'; echo ':KUBE-SERVICES'; echo '-A '; printf '\\377\\n'");
        assert_eq!(texts(&failures()), [""; 0]);
        Program::new("umount").args([LEGACY]).run().unwrap();
        assert_eq!(saved(Xtables::Legacy), before);
    });
}

#[test]
fn legacy_tables_without_a_program_are_an_error_that_names_both() {
    isolated(|| {
        load_iptables(Xtables::Legacy);
        Program::new("mount").args(["-t", "tmpfs", "none", "/usr/sbin"]).run().unwrap();
        let texts = texts(&failures());
        let wanted = "cannot look for kube-proxy's chains in the iptables-legacy tables nat, filter, mangle of \
                      IPv4: program iptables-legacy-save is not in PATH";
        assert_eq!(texts[0], wanted);
        assert_eq!(texts.len(), 2);
    });
}

#[test]
fn chains_in_nf_tables_need_no_program() {
    isolated(|| {
        load_iptables(Xtables::Nft);
        Program::new("mount").args(["-t", "tmpfs", "none", "/usr/sbin"]).run().unwrap();
        assert!(removed(&[Mode::Iptables]).0 > 0);
        Program::new("umount").args(["/usr/sbin"]).run().unwrap();
        assert!(!saved(Xtables::Nft).contains("KUBE-SERVICES"));
    });
}

#[test]
fn the_plain_programs_are_used_where_they_are_of_iptables_legacy() {
    isolated(|| {
        load_iptables(Xtables::Legacy);
        fs::copy("/usr/sbin/xtables-legacy-multi", "/run/multi").unwrap();
        Program::new("chmod").args(["755", "/run/multi"]).run().unwrap();
        Program::new("mount").args(["-t", "tmpfs", "none", "/usr/sbin"]).run().unwrap();
        for name in ["iptables", "ip6tables"] {
            for action in ["", "-save", "-restore"] {
                std::os::unix::fs::symlink("/run/multi", format!("/usr/sbin/{name}{action}")).unwrap();
            }
        }
        assert!(removed(&[Mode::Iptables]).0 > 0);
        Program::new("umount").args(["/usr/sbin"]).run().unwrap();
        assert!(!saved(Xtables::Legacy).contains("KUBE-SERVICES"));
    });
}

#[test]
fn the_plain_programs_are_not_used_where_they_are_of_iptables_nft() {
    isolated(|| {
        load_iptables(Xtables::Legacy);
        fs::copy("/usr/sbin/xtables-nft-multi", "/run/multi").unwrap();
        Program::new("chmod").args(["755", "/run/multi"]).run().unwrap();
        Program::new("mount").args(["-t", "tmpfs", "none", "/usr/sbin"]).run().unwrap();
        for name in ["iptables", "iptables-save", "iptables-restore"] {
            std::os::unix::fs::symlink("/run/multi", format!("/usr/sbin/{name}")).unwrap();
        }
        let failures = failures();
        assert!(matches!(error(&failures[0]), StaleError::NoProgram { .. }), "{failures:?}");
    });
}
