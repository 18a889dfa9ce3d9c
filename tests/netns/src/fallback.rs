//! Which mode runs: what was asked for, against what the host lacks.
//!
//! Two binaries are asked: the product, and `examples/recording_modes.rs`, which has stand-ins for the modes
//! further down the line that need less, so that there is something to fall back to whatever is lacking.
//! It is lacking for real: capabilities, rights over the network namespace, programs. IPVS is lacking where
//! the kernel has none.

use std::path::{Path, PathBuf};
use std::{env, fs};

use portolan_testkit::netns::{Portolan, isolated, list_ruleset, load_ruleset};
use portolan_testkit::shop::PORT;

use crate::stage::{METRICS, PATIENCE, Stage, WEB, exit_code, program, socket, start_by};

/// A way to ask for a mode, and the modes that are then tried in turn.
struct Asked {
    mode: &'static str,
    with_fallback: &'static [&'static str],
    without: &'static [&'static str],
}

const PREFERENCE: &[&str] = &["nftables", "iptables", "userspace"];

/// What kube-proxy knows; `""` is `--mode` left out.
static KNOWN: [Asked; 6] = [
    Asked { mode: "", with_fallback: PREFERENCE, without: PREFERENCE },
    Asked { mode: "auto", with_fallback: PREFERENCE, without: PREFERENCE },
    Asked { mode: "nftables", with_fallback: PREFERENCE, without: &["nftables"] },
    Asked { mode: "iptables", with_fallback: &["iptables", "userspace", "nftables"], without: &["iptables"] },
    Asked { mode: "ipvs", with_fallback: &["ipvs", "iptables", "userspace", "nftables"], without: &["ipvs"] },
    Asked {
        mode: "userspace",
        with_fallback: &["userspace", "nftables", "iptables"],
        without: &["userspace"],
    },
];

/// Modes of one's own.
static OWN: [Asked; 2] = [
    Asked { mode: "mine", with_fallback: &["mine", "nftables", "iptables", "userspace"], without: &["mine"] },
    Asked {
        mode: "needy",
        with_fallback: &["needy", "nftables", "iptables", "userspace"],
        without: &["needy"],
    },
];

/// What the proxy is started without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lacking {
    Nothing,
    /// The capability to change the network.
    NetAdmin,
    /// It has all capabilities, in a user namespace that does not own the network namespace.
    Rights,
    /// Programs: `PATH` leads nowhere.
    Programs,
    NetAdminAndPrograms,
}

impl Lacking {
    /// What to run the proxy by.
    fn wrapper(self) -> Vec<String> {
        let path = |name| program(name).display().to_string();
        let no_net_admin =
            || [path("setpriv"), "--bounding-set=-net_admin".into(), "--inh-caps=-net_admin".into()];
        let no_programs = || "PATH=/nonexistent".to_owned();
        match self {
            Self::Nothing => Vec::new(),
            Self::NetAdmin => no_net_admin().into(),
            Self::Rights => vec![path("unshare"), "--user".into(), "--map-root-user".into()],
            Self::Programs => vec![no_programs()],
            Self::NetAdminAndPrograms => [no_programs()].into_iter().chain(no_net_admin()).collect(),
        }
    }

    fn has_rights(self) -> bool {
        matches!(self, Self::Nothing | Self::Programs)
    }

    fn has_programs(self) -> bool {
        !matches!(self, Self::Programs | Self::NetAdminAndPrograms)
    }
}

/// A binary with its modes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Binary {
    Product,
    Recording,
}

impl Binary {
    fn path(self) -> PathBuf {
        match self {
            Self::Product => Portolan::binary().unwrap(),
            // Examples are built with the tests, and lie in a folder beside theirs.
            Self::Recording => {
                let test = env::current_exe().unwrap();
                test.ancestors().nth(2).unwrap().join("examples/recording_modes")
            }
        }
    }

    /// Why a mode cannot run; nothing if it can.
    fn missing(self, mode: &str, lacking: Lacking) -> Option<&'static str> {
        match (mode, self) {
            ("nftables", _) if lacking.has_rights() => None,
            ("nftables", _) => Some("the privilege to change nftables, CAP_NET_ADMIN"),
            ("iptables", _) if !lacking.has_programs() => Some("the program iptables, which is not in PATH"),
            ("iptables", _) if !lacking.has_rights() => Some("a working /"),
            ("ipvs", _) if !Path::new("/proc/net/ip_vs").exists() => Some("the kernel module ip_vs"),
            ("userspace", Self::Product) if !lacking.has_rights() => {
                Some("CAP_NET_ADMIN, to make service addresses local")
            }
            ("needy", _) => Some("the program needy-helper, which is not in PATH"),
            _ => None,
        }
    }
}

/// One cell of the matrix.
struct Trial<'a> {
    stage: &'a Stage,
    /// Where the stand-ins write.
    record: &'a Path,
    binary: Binary,
    lacking: Lacking,
    flags: Vec<String>,
    /// The modes that are tried in turn.
    line: &'static [&'static str],
}

impl Trial<'_> {
    fn run(&self) {
        self.stage.api.forget_events();
        // Left by the trial before.
        load_ruleset(self.stage.net.node(), "flush ruleset\n").unwrap();
        drop(fs::remove_file(self.record));
        let proxy = self.start();
        match self.line.iter().position(|mode| self.missing(mode).is_none()) {
            Some(passed_over) => self.assert_runs(proxy, passed_over),
            None => self.assert_refuses(proxy),
        }
    }

    fn start(&self) -> Portolan {
        let mut words = vec![format!("RECORD={}", self.record.display())];
        words.extend(self.lacking.wrapper());
        words.push(self.binary.path().display().to_string());
        words.extend(self.stage.flags());
        words.extend(self.flags.iter().cloned());
        start_by(self.stage, "env", &words)
    }

    fn missing(&self, mode: &str) -> Option<&'static str> {
        self.binary.missing(mode, self.lacking)
    }

    /// All that is lacking is in the text, mode by mode.
    #[track_caller]
    fn assert_tells(&self, text: &str, modes: &[&str]) {
        for mode in modes {
            let missing = self.missing(mode).unwrap();
            let at =
                text.find(&format!("{mode}: {missing}")).or(text.find(&format!("{mode} needs {missing}")));
            assert!(at.is_some(), "{self:?}: {mode}, {missing}: {text}");
        }
    }

    fn assert_runs(&self, mut proxy: Portolan, passed_over: usize) {
        let (mode, preferred) = (self.line[passed_over], self.line[0]);
        proxy.wait_synced(PATIENCE).unwrap_or_else(|error| panic!("{self:?}: {error}"));
        assert_eq!(proxy.get(METRICS, "/proxyMode").unwrap().body, mode, "{self:?}");
        let metric = |series: String| proxy.metric(&series).unwrap();
        assert_eq!(metric(format!("portolan_proxy_mode{{mode=\"{mode}\"}}")), Some(1.0), "{self:?}");
        let rules = list_ruleset(self.stage.net.node()).unwrap();
        let is_by_rules = mode == "nftables" || self.binary == Binary::Product && mode == "iptables";
        assert_eq!(rules.contains("10.96.0.80"), is_by_rules, "{self:?}");
        let record = fs::read_to_string(self.record).unwrap_or_default();
        let line = |family| record.lines().any(|line| line == format!("{mode} {family} 1"));
        let is_stand_in = self.binary == Binary::Recording && mode != "nftables";
        assert_eq!(line("IPv4") && line("IPv6"), is_stand_in, "{self:?}: {record}");
        for ip in WEB.iter().filter(|_| !is_stand_in) {
            let answer = self.stage.client().connect_tcp(socket(ip, PORT));
            assert_eq!(answer.unwrap_or_else(|error| panic!("{self:?}: {ip}: {error}")).pod, "pod1");
        }

        self.stage.wait_for_event("Starting");
        let log = proxy.log().unwrap();
        let told = log.lines().find(|line| line.contains("falling back to another proxy mode"));
        let counter = format!("portolan_mode_fallbacks_total{{from=\"{preferred}\",to=\"{mode}\"}}");
        let event = self.stage.events("ProxyModeFallback").pop();
        if passed_over == 0 {
            assert!(told.is_none() && event.is_none(), "{self:?}: {told:?} {event:?}");
            assert!(metric(counter).is_none_or(|count| count == 0.0), "{self:?}");
        } else {
            let told = told.unwrap_or_else(|| panic!("{self:?}: {log}"));
            assert!(told.contains(&format!("from={preferred:?} to={mode:?}")), "{told}");
            self.assert_tells(told, &self.line[..passed_over]);
            assert_eq!(metric(counter), Some(1.0), "{self:?}");
            let event = event.unwrap_or_else(|| panic!("{self:?}: {:?}", self.stage.api.events()));
            assert_eq!((&event["type"], &event["action"]), (&"Warning".into(), &"StartKubeProxy".into()));
            let note = event["note"].as_str().unwrap();
            assert!(note.starts_with(&format!("{mode} mode runs in place of {preferred}: ")), "{note}");
            self.assert_tells(note, &self.line[..passed_over]);
        }
        assert!(proxy.terminate(PATIENCE).unwrap().success(), "{self:?}");
    }

    fn assert_refuses(&self, mut proxy: Portolan) {
        assert_eq!(exit_code(&mut proxy), Some(1), "{self:?}");
        let log = proxy.log().unwrap();
        let errors: Vec<_> = log.lines().filter(|line| line.starts_with('E')).collect();
        let [error] = errors[..] else { panic!("{self:?}: not one error: {log}") };
        self.assert_tells(error, self.line);
        let note = self.stage.wait_for_event("NoUsableProxyMode")["note"].as_str().unwrap().to_owned();
        self.assert_tells(&note, self.line);
        assert!(!list_ruleset(self.stage.net.node()).unwrap().contains("portolan"), "{self:?}");
    }
}

impl std::fmt::Debug for Trial<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} of {:?} without {:?}", self.flags.join(" "), self.line, self.lacking)
    }
}

/// Goes through all ways to ask, with and without permission to fall back.
fn try_all<'a>(binary: Binary, lacking: Lacking, ways: impl IntoIterator<Item = &'a Asked>) {
    let stage = Stage::new(1);
    stage.serve_web_by(&[1]);
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("record");
    for Asked { mode, with_fallback, without } in ways {
        for (may, line) in [(true, with_fallback), (false, without)] {
            let mut flags = vec![format!("--mode-fallback={may}")];
            flags.extend(Some(mode).filter(|mode| !mode.is_empty()).map(|mode| format!("--mode={mode}")));
            Trial { stage: &stage, record: &record, binary, lacking, flags, line }.run();
        }
    }
}

fn every_mode() -> impl Iterator<Item = &'static Asked> {
    KNOWN.iter().chain(&OWN)
}

#[test]
fn the_product_runs_what_it_has_and_says_what_the_others_need() {
    isolated(|| try_all(Binary::Product, Lacking::Nothing, &KNOWN));
}

#[test]
fn the_product_without_net_admin_lists_what_every_mode_lacks() {
    isolated(|| try_all(Binary::Product, Lacking::NetAdmin, &KNOWN));
}

#[test]
fn the_product_without_rights_over_its_network_lists_what_every_mode_lacks() {
    isolated(|| try_all(Binary::Product, Lacking::Rights, &KNOWN));
}

#[test]
fn the_product_without_iptables_programs_names_them() {
    isolated(|| try_all(Binary::Product, Lacking::Programs, &KNOWN));
}

#[test]
fn a_binary_with_all_modes_falls_back_from_those_of_its_own() {
    isolated(|| try_all(Binary::Recording, Lacking::Nothing, every_mode()));
}

#[test]
fn without_net_admin_the_line_ends_at_userspace() {
    isolated(|| try_all(Binary::Recording, Lacking::NetAdmin, every_mode()));
}

#[test]
fn without_programs_iptables_is_passed_over() {
    isolated(|| try_all(Binary::Recording, Lacking::Programs, every_mode()));
}

#[test]
fn without_net_admin_and_programs_each_mode_names_what_it_lacks() {
    isolated(|| try_all(Binary::Recording, Lacking::NetAdminAndPrograms, every_mode()));
}

#[test]
fn unknown_mode_is_rejected_before_any_probe() {
    isolated(|| {
        let stage = Stage::new(1);
        let mut proxy = stage.start(&["--mode=mine"]);
        assert_eq!(exit_code(&mut proxy), Some(1));
        let log = proxy.log().unwrap();
        assert!(log.contains("KubeProxyConfiguration.Mode.ProxyMode") && log.contains("mine"), "{log}");
        assert_eq!(stage.api.requests().len(), 0);
    });
}
