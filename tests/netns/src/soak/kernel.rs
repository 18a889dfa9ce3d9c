//! What each mode has made of a node, in a form that is equal where two nodes serve the same; and what others
//! may do to it.

use portolan_backend_nftables::layout::nft_family;
use portolan_core::IpFamily;
use portolan_nft::{NetlinkTables, TableId, Tables as _};
use portolan_testkit::netns::{Namespace, Program};
use portolan_testkit::upstream::comparable_rules;
use portolan_testkit::view::View;

/// A mode that this kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Nftables,
    Iptables,
    Userspace,
}

impl Mode {
    /// As `--mode` takes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
            Self::Userspace => "userspace",
        }
    }

    /// What the node serves, both families.
    pub(super) fn held(self, node: &Namespace) -> String {
        let of_family = |family: &IpFamily| match self {
            Self::Nftables => node.run(|| served(*family)).unwrap(),
            Self::Iptables => rules(node, *family),
            Self::Userspace => listeners(node, *family),
        };
        IpFamily::ALL.iter().map(of_family).collect()
    }

    /// Commands by which another program damages what this mode has made, or comes close to it. Each is one line
    /// of a shell and may fail, as where the kernel protects a table.
    pub(super) fn foreign_edits(self) -> &'static [&'static str] {
        match self {
            Self::Nftables => &[
                "nft flush ruleset",
                "nft 'add table ip other; add chain ip other in { type filter hook input priority 0; }'",
                "nft delete table ip other",
                "nft flush table ip6 portolan",
            ],
            Self::Iptables => &[
                "iptables -t nat -F",
                "ip6tables -t nat -F",
                "iptables -t nat -D PREROUTING 1",
                "iptables -t filter -F",
                "ip6tables -t nat -F KUBE-SERVICES",
                "nft flush ruleset",
                "iptables -t nat -N OTHER; iptables -t nat -A OTHER -j RETURN",
            ],
            Self::Userspace => &[
                "ip -4 route flush table all proto 80; ip -6 route flush table all proto 80",
                "ip -4 rule del protocol 80",
                "ip -6 rule del protocol 80",
            ],
        }
    }

    /// The same while no proxy runs, when the kernel protects nothing.
    pub(super) fn edits_of_a_stopped_proxy(self) -> &'static [&'static str] {
        match self {
            Self::Nftables => &[
                "nft flush map ip portolan services",
                "nft flush map ip6 portolan endpoints",
                "nft flush chain ip portolan services",
                "nft delete table ip6 portolan",
            ],
            Self::Iptables | Self::Userspace => self.foreign_edits(),
        }
    }
}

/// What our table serves: slots and classes may be shared out otherwise where they came about otherwise.
fn served(family: IpFamily) -> String {
    let id = TableId::new(nft_family(family), "portolan");
    let dump = NetlinkTables::open().unwrap().dump(&id).unwrap();
    // A table in between two transactions of a first load is none that can be read as a whole.
    dump.map_or_else(String::new, |dump| match View::of(&dump) {
        Ok(view) => format!("{view:#?}"),
        Err(flaw) => flaw.to_string(),
    })
}

/// The rules of iptables, without those of the program that some edits pretend to be.
fn rules(node: &Namespace, family: IpFamily) -> String {
    let program = if family == IpFamily::V4 { "iptables-save" } else { "ip6tables-save" };
    let saved = node.run_program(&Program::new(program)).unwrap();
    let others = |line: &&str| !line.contains("OTHER");
    comparable_rules(&saved.lines().filter(others).collect::<Vec<_>>().join("\n"))
}

/// Listening sockets, and the rules and routes that lead to them. Ports that the kernel chose are left out, and
/// so are addresses that belong to one link, and the source that each node has by its own routes.
fn listeners(node: &Namespace, family: IpFamily) -> String {
    let option = if family == IpFamily::V4 { "-4" } else { "-6" };
    let list = |program: &str, words: &str| {
        let output = node.run_program(&Program::new(program).args([option]).args(words.split(' '))).unwrap();
        let mut lines: Vec<_> =
            output.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        lines.sort_unstable();
        lines.dedup();
        lines.join("\n")
    };
    let sockets = list("ss", "-Hltun");
    let sockets = sockets.lines().filter_map(|line| {
        // tcp LISTEN 0 4096 10.96.0.1:80 0.0.0.0:*
        let words: Vec<_> = line.split(' ').collect();
        let port: u16 = words.get(4)?.rsplit(':').next()?.parse().ok()?;
        (port < 32_768 && !words[4].starts_with("[fe80:")).then(|| format!("{} {}\n", words[0], words[4]))
    });
    let routes = list("ip", "route show table all proto 80");
    let routes = routes.lines().map(|route| {
        let words: Vec<_> = route.split(' ').collect();
        let source = words.iter().position(|word| *word == "src").unwrap_or(words.len());
        let rest = words.get(source + 2..).unwrap_or_default();
        [&words[..source], rest].concat().join(" ") + "\n"
    });
    format!("{}{}\n{}", sockets.collect::<String>(), list("ip", "rule show"), routes.collect::<String>())
}
