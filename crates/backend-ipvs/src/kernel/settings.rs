//! The kernel's settings that the mode needs.

use portolan_host::{Host, HostError, Outcome};

/// Sysctls below `/proc/sys`, as kube-proxy sets them. They are never set back.
///
/// Connection tracking sees what IPVS does; connections whose endpoint is gone end with their next packet; a
/// client that is to stay with an endpoint which gets nothing new any more is given another.
const ALWAYS: [(&str, i64); 4] = [
    ("net/ipv4/vs/conntrack", 1),
    ("net/ipv4/vs/expire_nodest_conn", 1),
    ("net/ipv4/vs/expire_quiescent_template", 1),
    ("net/ipv4/ip_forward", 1),
];

/// Answers for an address only where the address is, so that the device's addresses are not announced.
const STRICT_ARP: [(&str, i64); 2] =
    [("net/ipv4/conf/all/arp_ignore", 1), ("net/ipv4/conf/all/arp_announce", 2)];

/// Whether a client that uses a port again is given an endpoint anew. Before Linux 5.9 that cost a second for
/// each such connection, so it is switched off there (f719e3754ee2 of Linux).
const REUSE: &str = "net/ipv4/vs/conn_reuse_mode";
const REUSE_IS_CHEAP: (u32, u32) = (5, 9);

/// Whether netfilter sees what a bridge passes on between its own ports, by either family.
const BRIDGE: [&str; 2] =
    ["/proc/sys/net/bridge/bridge-nf-call-iptables", "/proc/sys/net/bridge/bridge-nf-call-ip6tables"];

/// Makes them. Gives how many had another value.
pub(super) fn make(host: &Host, strict_arp: bool) -> Result<usize, HostError> {
    let strict = if strict_arp { &STRICT_ARP[..] } else { &[] };
    let reuse = release().filter(|release| *release < REUSE_IS_CHEAP).map(|_| (REUSE, 0));
    let mut made = 0;
    for (path, value) in ALWAYS.iter().chain(strict).copied().chain(reuse) {
        let tuned = host.set_sysctl(path, value);
        match tuned.outcome {
            Outcome::Kept => {}
            Outcome::Set { from, to } => {
                tracing::info!(sysctl = tuned.sysctl, from, to, "sysctl was set");
                made += 1;
            }
            Outcome::Failed(error) => return Err(error),
        }
    }
    Ok(made)
}

/// Says so if pods on one bridge would not reach each other through a Service.
pub(super) fn warn_of_bridges() {
    for file in BRIDGE {
        if std::fs::read_to_string(file).is_ok_and(|value| value.trim() == "0") {
            tracing::warn!(
                file,
                "pods on one bridge do not reach each other through Services while this setting is 0"
            );
        }
    }
}

/// The kernel's version, if it can be told.
fn release() -> Option<(u32, u32)> {
    parse(&std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?)
}

fn parse(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert_eq!(parse("5.10.0-32-cloud-amd64\n"), Some((5, 10)));
        assert!(parse("5.10.0").unwrap() > REUSE_IS_CHEAP && parse("4.19").unwrap() < REUSE_IS_CHEAP);
        assert_eq!(parse("unknown"), None);
    }
}
