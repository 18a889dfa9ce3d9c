//! Settings in a folder that stands for a host.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

const NEEDED: [&str; 2] = ["net/ipv4/vs/conntrack", "net/ipv4/ip_forward"];
const USEFUL: [&str; 4] = [
    "net/ipv4/vs/expire_nodest_conn",
    "net/ipv4/vs/expire_quiescent_template",
    "net/ipv4/conf/all/arp_ignore",
    "net/ipv4/conf/all/arp_announce",
];

/// A host on which all settings are zero.
struct Fake {
    root: tempfile::TempDir,
}

impl Fake {
    fn new() -> Self {
        let fake = Self { root: tempfile::tempdir().unwrap() };
        for path in NEEDED.iter().chain(&USEFUL) {
            fake.set(path, "0\n");
        }
        // Set on kernels of old alone.
        fake.set(REUSE.path, "0\n");
        fake
    }

    fn host(&self) -> Host {
        Host::at(self.root.path())
    }

    fn file(&self, path: &str) -> PathBuf {
        self.root.path().join("proc/sys").join(path)
    }

    fn set(&self, path: &str, text: &str) {
        let file = self.file(path);
        fs::create_dir_all(file.parent().unwrap_or(Path::new("/"))).unwrap();
        fs::write(file, text).unwrap();
    }

    fn value(&self, path: &str) -> String {
        fs::read_to_string(self.file(path)).unwrap().trim().to_owned()
    }

    /// Makes one that can be neither read nor written.
    fn without(self, path: &str) -> Self {
        fs::remove_file(self.file(path)).unwrap();
        self
    }
}

#[test]
fn versions_are_compared_by_number() {
    assert_eq!(parse("5.10.0-32-cloud-amd64\n"), Some((5, 10)));
    assert!(parse("5.10.0").unwrap() > REUSE_IS_CHEAP && parse("4.19").unwrap() < REUSE_IS_CHEAP);
    assert_eq!(parse("unknown"), None);
}

#[test]
fn sysctls_that_differ_are_set_and_counted_once() {
    let fake = Fake::new();
    let mut settings = Settings::default();
    assert_eq!(settings.make(&fake.host(), true).unwrap(), 6);
    assert_eq!(settings.make(&fake.host(), true).unwrap(), 0);
    for path in NEEDED.iter().chain(&USEFUL[..3]) {
        assert_eq!(fake.value(path), "1", "{path}");
    }
    assert_eq!(fake.value("net/ipv4/conf/all/arp_announce"), "2");
}

#[test]
fn arp_sysctls_are_unchanged_without_strict_arp() {
    let fake = Fake::new();
    assert_eq!(Settings::default().make(&fake.host(), false).unwrap(), 4);
    assert_eq!((fake.value(USEFUL[2]), fake.value(USEFUL[3])), ("0".into(), "0".into()));
    make_all(&fake.host(), false).unwrap();
    assert_eq!((fake.value(USEFUL[2]), fake.value(USEFUL[3])), ("0".into(), "0".into()));
}

#[test]
fn a_required_sysctl_that_cannot_be_set_is_an_error_each_time_and_others_are_set() {
    for path in NEEDED {
        let fake = Fake::new().without(path);
        let mut settings = Settings::default();
        for _again in 0..2 {
            let error = settings.make(&fake.host(), true).unwrap_err().to_string();
            assert!(error.starts_with(&format!("cannot set /proc/sys/{path} to 1")), "{error}");
        }
        let others = NEEDED.iter().chain(&USEFUL).filter(|other| **other != path);
        assert!(others.map(|other| fake.value(other)).all(|value| value != "0"), "{path}");
        assert_eq!(settings.logged.len(), 1, "{path}");
    }
}

#[test]
fn an_optional_sysctl_that_cannot_be_set_is_logged_once_and_is_no_error() {
    for path in USEFUL {
        let fake = Fake::new().without(path);
        let mut settings = Settings::default();
        assert_eq!(settings.make(&fake.host(), true).unwrap(), 5, "{path}");
        assert_eq!(settings.make(&fake.host(), true).unwrap(), 0, "{path}");
        assert_eq!(settings.logged.iter().collect::<Vec<_>>(), [&path]);
    }
}

#[test]
fn setting_all_sysctls_fails_if_one_cannot_be_set() {
    for path in NEEDED.iter().chain(&USEFUL) {
        let fake = Fake::new().without(path);
        let error = make_all(&fake.host(), true).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot set /proc/sys/{path} to ")), "{error}");
        let others = NEEDED.iter().chain(&USEFUL).filter(|other| *other != path);
        assert!(others.map(|other| fake.value(other)).all(|value| value != "0"), "{path}");
    }
}

#[test]
fn bridges_without_netfilter_are_reported() {
    let fake = Fake::new();
    let told = |fake: &Fake| passed_by(&fake.host()).collect::<Vec<_>>();
    assert!(told(&fake).is_empty(), "there are no such settings");
    fake.set(BRIDGE[0], "1\n");
    fake.set(BRIDGE[1], "0\n");
    assert_eq!(told(&fake), BRIDGE[1..]);
    fake.set(BRIDGE[0], "0\n");
    assert_eq!(told(&fake), BRIDGE);
}
