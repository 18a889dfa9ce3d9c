//! The modes that the real binary is tested in, and what is different about their rules.
//!
//! A test that holds in several is a plain function of the [`Mode`], named in [`in_each_mode!`], which makes
//! a test of it for each: `startup::iptables::rules_stay_…`.

use portolan_core::IpFamily;
use portolan_testkit::netns::{Namespace, Program, assert_ruleset_reloads, list_ruleset};

/// How the node is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Nftables,
    /// By the programs that go by the plain names on this host.
    Iptables,
}

impl Mode {
    /// As `--mode` takes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
        }
    }

    pub(crate) fn flag(self) -> String {
        format!("--mode={}", self.name())
    }

    /// Our rules and whatever else is there, without what only the running process shows: who owns a table, how
    /// many packets came by.
    pub(crate) fn listed(self, node: &Namespace) -> String {
        match self {
            Self::Nftables => without_ownership(&list_ruleset(node).unwrap()),
            Self::Iptables => {
                let save = |family: IpFamily| {
                    let program = if family == IpFamily::V4 { "iptables-save" } else { "ip6tables-save" };
                    without_counts(&node.run_program(&Program::new(program)).unwrap())
                };
                IpFamily::ALL.map(save).concat()
            }
        }
    }

    /// Whether there are rules of ours. `KUBE-FIREWALL` is the kubelet's too, and stays where it is.
    pub(crate) fn has_rules(self, node: &Namespace) -> bool {
        self.listed(node).contains(match self {
            Self::Nftables => "portolan",
            Self::Iptables => "KUBE-SERVICES",
        })
    }

    /// Whether a table of nf_tables, as nft lists it, is one that this mode writes into.
    pub(crate) fn uses_table(self, line: &str) -> bool {
        let name = line.rsplit(' ').next().unwrap_or(line);
        match self {
            Self::Nftables => name == "portolan",
            Self::Iptables => ["nat", "filter", "mangle"].contains(&name),
        }
    }

    /// What is listed loads again, where it can: nft has no words for what iptables asks of its own modules.
    pub(crate) fn assert_reloads(self, node: &Namespace) {
        if self == Self::Nftables {
            assert_ruleset_reloads(node);
        }
    }
}

fn without_ownership(listing: &str) -> String {
    let is_kept = |line: &&str| !line.trim().starts_with("flags");
    let lines = listing.lines().filter(is_kept);
    lines.map(|line| line.split(" # progname").next().unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// Without the time at which it was written, and what chains have counted.
fn without_counts(saved: &str) -> String {
    let lines = saved.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(" [").map_or(line, |(chain, _)| chain)).collect::<Vec<_>>().join("\n")
}

/// Makes a test for each mode of each of these functions.
macro_rules! in_each_mode {
    ($($test:ident),* $(,)?) => {
        $crate::modes::in_each_mode!(@mode nftables, Nftables: $($test)*);
        $crate::modes::in_each_mode!(@mode iptables, Iptables: $($test)*);
    };
    (@mode $module:ident, $mode:ident: $($test:ident)*) => {
        mod $module {
            $(
                #[test]
                fn $test() {
                    portolan_testkit::netns::isolated(|| super::$test($crate::modes::Mode::$mode));
                }
            )*
        }
    };
}
pub(crate) use in_each_mode;
