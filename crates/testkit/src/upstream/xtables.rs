//! The two kinds of iptables.

use std::collections::BTreeMap;

use portolan_core::IpFamily;

use crate::netns::{NetnsError, Program};

/// Which kind of iptables keeps the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Xtables {
    /// In tables of nf_tables.
    Nft,
    /// In its own.
    Legacy,
}

impl Xtables {
    /// Both kinds.
    pub const ALL: [Self; 2] = [Self::Nft, Self::Legacy];

    /// Loads rules into the network namespace of the current thread, beside those that are there.
    ///
    /// # Errors
    /// With the program's message when it turns them down, or is not there.
    pub fn restore(self, family: IpFamily, rules: &str) -> Result<(), NetnsError> {
        let restore = Program::new(self.program(family, "-restore")).args(["--noflush", "--counters"]);
        restore.input(rules).run().map(drop)
    }

    /// All rules with their counters, as the program saves them, without its remarks.
    ///
    /// # Errors
    /// When the program fails, or is not there.
    pub fn save(self, family: IpFamily) -> Result<String, NetnsError> {
        let saved = Program::new(self.program(family, "-save")).args(["--counters"]).run()?;
        // The remarks have the time in them.
        let lines = saved.split_inclusive('\n').filter(|line| !line.starts_with('#'));
        Ok(lines.collect())
    }

    fn program(self, family: IpFamily, action: &str) -> String {
        let tables = match family {
            IpFamily::V4 => "iptables",
            IpFamily::V6 => "ip6tables",
        };
        let kind = match self {
            Self::Nft => "nft",
            Self::Legacy => "legacy",
        };
        format!("{tables}-{kind}{action}")
    }
}

/// The rules that `iptables-save` printed, by table and chain and in the order in which packets meet them. A built-in
/// chain without rules is as none: which of them are there depends on who has looked.
pub fn rules_by_chain(saved: &str) -> BTreeMap<(&str, &str), Vec<&str>> {
    let mut chains = BTreeMap::<_, Vec<&str>>::new();
    let mut table = "";
    for line in saved.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        } else if let Some((chain, policy)) = line.strip_prefix(':').and_then(|line| line.split_once(' ')) {
            if policy.starts_with('-') {
                chains.entry((table, chain)).or_default();
            }
        } else if let Some((chain, rule)) = line.strip_prefix("-A ").and_then(|line| line.split_once(' ')) {
            chains.entry((table, chain)).or_default().push(rule);
        }
    }
    chains
}

/// The rules that `iptables-save` printed, equal as text where two nodes serve the same: those of the lists that all
/// Services share come in any order. Not `KUBE-FIREWALL`: that is the kubelet's as well, and stays when a proxy needs
/// it no more.
pub fn comparable_rules(saved: &str) -> String {
    let ours: Vec<_> = saved.lines().filter(|line| !line.contains("KUBE-FIREWALL")).collect();
    let ours = ours.join("\n");
    let text = |((table, chain), mut rules): ((&str, &str), Vec<&str>)| {
        if ["KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS", "KUBE-PROXY-FIREWALL"]
            .contains(&chain)
        {
            let last = rules.iter().position(|rule| rule.contains("must be the last")).unwrap_or(rules.len());
            rules[..last].sort_unstable();
        }
        format!("{table} {chain}\n  {}\n", rules.join("\n  "))
    };
    rules_by_chain(&ours).into_iter().map(text).collect()
}
