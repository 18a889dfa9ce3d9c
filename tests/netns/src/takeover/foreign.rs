//! What others have on a node that is taken over, and that it stays to the last rule.

use portolan_core::IpFamily;
use portolan_testkit::netns::{Namespace, NetnsError, Program, load_ruleset, wait_until};
use portolan_testkit::upstream::{Xtables, kubelet};

use crate::modes::Mode;
use crate::stage::PATIENCE;

/// Rules of another program, beside the kubelet's.
const FOREIGN_NFT: &str = "table ip bystander {
 counter seen { }
 chain forward { type filter hook forward priority 10; counter name seen; ip saddr 192.0.2.99 drop; }
}
table inet bystander {
 set kept { type ipv4_addr; elements = { 192.0.2.98 }; }
}
";
const FOREIGN_IPTABLES: &str = "*filter
:BYSTANDER - [0:0]
-A FORWARD -s 192.0.2.99/32 -j BYSTANDER
-A BYSTANDER -m set --match-set bystander src -j DROP
COMMIT
*nat
-A POSTROUTING -s 192.0.2.99/32 -j MASQUERADE
COMMIT
";

/// Writes what others have on the node, as iptables of these kinds too.
pub(super) fn load(node: &Namespace, kinds: &[Xtables]) {
    load_ruleset(node, FOREIGN_NFT).unwrap();
    let load = || {
        Program::new("ipset").args(["create", "bystander", "hash:ip"]).run().unwrap();
        for kind in kinds {
            for family in IpFamily::ALL {
                kind.restore(family, &kubelet::ruleset(family)).unwrap();
            }
            kind.restore(IpFamily::V4, FOREIGN_IPTABLES).unwrap();
        }
    };
    node.run(load).unwrap();
}

/// All that is in the node but for the tables of this mode of ours, without counts of packets.
pub(super) fn all(node: &Namespace, kinds: &[Xtables], mode: Mode) -> Vec<String> {
    look(node, kinds, mode).unwrap()
}

/// The same, while another program changes it.
///
/// # Errors
/// What a program had begun to list went meanwhile, as when a set goes whose rule was read just before.
fn look(node: &Namespace, kinds: &[Xtables], mode: Mode) -> Result<Vec<String>, NetnsError> {
    let of_xtables = || {
        let mut seen = vec![Program::new("ipset").args(["list", "-name"]).run()?];
        for kind in kinds {
            for family in IpFamily::ALL {
                seen.push(without_counts(&kind.save(family)?));
            }
        }
        Ok(seen)
    };
    let mut seen = node.run(of_xtables)??;
    let tables = node.run_program(&Program::new("nft").args(["list", "tables"]))?;
    seen.push(tables.lines().filter(|line| !mode.uses_table(line)).collect::<Vec<_>>().join("\n"));
    for family in ["ip", "inet"] {
        let table = Program::new("nft").args(["--stateless", "list", "table", family, "bystander"]);
        seen.push(node.run_program(&table)?);
    }
    Ok(seen)
}

fn without_counts(saved: &str) -> String {
    let strip = |line: &str| match (line.strip_prefix('['), line.rsplit_once(" [")) {
        (Some(rule), _) => rule.split_once("] ").map_or(rule, |(_, rule)| rule).to_owned(),
        (None, Some((chain, _))) if line.starts_with(':') => chain.to_owned(),
        _ => line.to_owned(),
    };
    saved.lines().map(strip).collect::<Vec<_>>().join("\n")
}

/// Waits until the node holds what it held before the old proxy came, and our tables.
pub(super) fn wait_until_alone(node: &Namespace, kinds: &[Xtables], mode: Mode, before: &[String]) {
    let removed = wait_until("leftovers are removed", PATIENCE, || {
        look(node, kinds, mode).is_ok_and(|seen| seen == before)
    });
    if removed.is_err() {
        assert_eq!(all(node, kinds, mode), before, "leftovers are not removed, or others' rules are");
    }
}
