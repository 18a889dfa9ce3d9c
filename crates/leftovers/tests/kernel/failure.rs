//! What cannot be done is an error, and the rest is done.

use std::fs;
use std::time::Duration;

use portolan_core::IpFamily;
use portolan_core::backend::error_chain;
use portolan_leftovers::{LeftoverError, Part, remove};
use portolan_testkit::netns::{Namespace, Program, isolated, wait_until};
use portolan_testkit::upstream::{Xtables, nftables};

use crate::state::{load_foreign, load_iptables, load_ipvs, removed, saved, services, set_names};

/// The errors of all steps.
fn errors(parts: &[Part]) -> Vec<LeftoverError> {
    remove(parts, &IpFamily::ALL).into_iter().filter_map(|outcome| outcome.result.err()).collect()
}

/// Puts a shell script in the place of a program, in the test's own mounts. `real` in it is the program.
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
fn a_program_that_fails_is_an_error_with_its_words_and_the_rest_goes() {
    isolated(|| {
        load_iptables(Xtables::Nft);
        load_iptables(Xtables::Legacy);
        Program::new("nft")
            .args(["-f", "-"])
            .input(nftables::ruleset(IpFamily::V4, &services()))
            .run()
            .unwrap();
        let before = saved(Xtables::Legacy);
        replace(
            LEGACY,
            "case $0 in *-restore) echo 'iptables-restore: line 3 failed' >&2; exit 1;; esac\nreal \"$@\"",
        );

        let failed: Vec<_> = remove(&Part::ALL, &IpFamily::ALL)
            .into_iter()
            .filter(|outcome| outcome.result.is_err())
            .collect();

        assert!(failed.iter().all(|outcome| outcome.found), "{failed:?}");
        let errors: Vec<_> = failed.into_iter().filter_map(|outcome| outcome.result.err()).collect();
        let texts: Vec<_> = errors.iter().map(|error| error_chain(error)).collect();
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert!(texts[0].contains("iptables-legacy-restore failed at `:KUBE-"), "{texts:?}");
        assert!(texts[0].ends_with("iptables-restore: line 3 failed"), "{texts:?}");
        assert!(
            matches!(&errors[0], LeftoverError::Failed { line: Some(line), .. } if line.starts_with(":KUBE-"))
        );
        let nft = Program::new("nft").args(["list", "tables"]).run().unwrap();
        assert!(!nft.contains("kube-proxy"), "{nft}");
        assert!(!saved(Xtables::Nft).contains("KUBE-SERVICES"));
        Program::new("umount").args([LEGACY]).run().unwrap();
        assert_eq!(saved(Xtables::Legacy), before);
        assert!(removed(&Part::ALL).0 > 0);
    });
}

/// A process without `CAP_NET_RAW` cannot have a raw socket, which iptables-legacy asks by.
const WITHOUT_NET_RAW: &str = "exec setpriv --bounding-set -net_raw -- /run/${0##*/} \"$@\"";

#[test]
fn legacy_tables_that_hold_nothing_of_a_proxy_are_no_failure_where_the_programs_cannot_read_them() {
    isolated(|| {
        load_foreign(Xtables::Legacy);
        replace(LEGACY, WITHOUT_NET_RAW);
        let outcomes = remove(&Part::ALL, &IpFamily::ALL);
        assert!(outcomes.iter().all(|outcome| outcome.result.is_ok() && !outcome.found), "{outcomes:?}");
        Program::new("umount").args([LEGACY]).run().unwrap();
    });
}

#[test]
fn chains_in_legacy_tables_are_known_to_be_there_though_the_programs_cannot_remove_them() {
    isolated(|| {
        load_iptables(Xtables::Legacy);
        replace(LEGACY, WITHOUT_NET_RAW);
        let outcomes = remove(&Part::ALL, &IpFamily::ALL);
        let failed: Vec<_> = outcomes.iter().filter(|outcome| outcome.result.is_err()).collect();
        assert_eq!(failed.len(), 2, "{outcomes:?}");
        assert!(failed.iter().all(|outcome| outcome.found), "{failed:?}");
        let said = error_chain(failed[0].result.as_ref().unwrap_err());
        assert!(said.contains("iptables-legacy-save failed") && said.contains("Permission denied"), "{said}");
        Program::new("umount").args([LEGACY]).run().unwrap();
    });
}

#[test]
fn a_program_that_prints_nonsense_finds_nothing_and_harms_nothing() {
    isolated(|| {
        load_iptables(Xtables::Legacy);
        let before = saved(Xtables::Legacy);
        replace(LEGACY, "echo '*nat'; echo ':KUBE-SERVICES'; echo '-A '; printf '\\377\\n'");
        assert_eq!(errors(&[Part::Iptables]).len(), 0);
        Program::new("umount").args([LEGACY]).run().unwrap();
        assert_eq!(saved(Xtables::Legacy), before);
    });
}

#[test]
fn legacy_tables_without_a_program_are_an_error_that_names_both() {
    isolated(|| {
        load_iptables(Xtables::Legacy);
        Program::new("mount").args(["-t", "tmpfs", "none", "/usr/sbin"]).run().unwrap();
        let errors = errors(&[Part::Iptables]);
        let texts: Vec<_> = errors.iter().map(|error| error_chain(error)).collect();
        let wanted = "cannot look for kube-proxy's chains in the iptables-legacy tables nat, filter, mangle of \
                      IPv4: there is no iptables-legacy-save with iptables-legacy-restore";
        assert_eq!(texts[0], wanted);
        assert_eq!(texts.len(), 2);
    });
}

#[test]
fn chains_in_nf_tables_need_no_program() {
    isolated(|| {
        load_iptables(Xtables::Nft);
        Program::new("mount").args(["-t", "tmpfs", "none", "/usr/sbin"]).run().unwrap();
        assert!(removed(&[Part::Iptables]).0 > 0);
        Program::new("umount").args(["/usr/sbin"]).run().unwrap();
        assert!(!saved(Xtables::Nft).contains("KUBE-SERVICES"));
    });
}

#[test]
fn the_plain_programs_do_where_they_are_of_that_kind() {
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
        assert!(removed(&[Part::Iptables]).0 > 0);
        Program::new("umount").args(["/usr/sbin"]).run().unwrap();
        assert!(!saved(Xtables::Legacy).contains("KUBE-SERVICES"));
    });
}

#[test]
fn the_plain_programs_are_left_alone_where_they_are_of_the_other_kind() {
    isolated(|| {
        load_iptables(Xtables::Legacy);
        fs::copy("/usr/sbin/xtables-nft-multi", "/run/multi").unwrap();
        Program::new("chmod").args(["755", "/run/multi"]).run().unwrap();
        Program::new("mount").args(["-t", "tmpfs", "none", "/usr/sbin"]).run().unwrap();
        for name in ["iptables", "iptables-save", "iptables-restore"] {
            std::os::unix::fs::symlink("/run/multi", format!("/usr/sbin/{name}")).unwrap();
        }
        let errors = errors(&[Part::Iptables]);
        assert!(matches!(errors[0], LeftoverError::NoProgram { .. }), "{errors:?}");
    });
}

#[test]
fn a_lock_that_is_never_let_go_is_waited_for_a_while_and_then_an_error() {
    isolated(|| {
        load_ipvs(Xtables::Nft);
        load_foreign(Xtables::Legacy);
        load_iptables(Xtables::Legacy);
        let here = Namespace::create("unused").unwrap();
        let holder = here
            .spawn_program(&Program::new("flock").args([
                "/run/xtables.lock",
                "sh",
                "-c",
                "touch /run/held; sleep 60",
            ]))
            .unwrap();
        wait_until("the lock is held", Duration::from_secs(60), || fs::exists("/run/held").unwrap()).unwrap();

        let errors = errors(&[Part::Iptables, Part::Ipvs]);

        assert!(errors.iter().all(|error| matches!(error, LeftoverError::Locked { .. })), "{errors:?}");
        assert_eq!(errors.len(), 2);
        assert!(!saved(Xtables::Nft).contains("KUBE-SERVICES"));
        assert_eq!(set_names(), Vec::<String>::new());
        drop(holder);
    });
}
