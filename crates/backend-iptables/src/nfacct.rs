//! Counters of the kernel's that rules can name: objects of nfacct.
//!
//! A rule that names one which is not there is refused, and not every kernel has them at all. So they are
//! made before, as kube-proxy makes them, and stay when we end.
//!
//! Always holds: a counter is shown while rules in force name it, with what the kernel has counted since the
//! object was made, perhaps for an earlier process; else it is absent, and never zero. Reading two objects is all
//! that showing them takes, however many rules there are.

use std::sync::{Mutex, PoisonError};

use portolan_core::backend::{Metric, error_chain};
use portolan_core::{IpFamily, PerFamily};
use portolan_netlink::{Message, MessageWriter, NetlinkError, NetlinkSocket, Protocol, flag};

use crate::options::{Counters, INVALID_DROPPED, LOCALHOST_ACCEPTED};

/// `NFNL_SUBSYS_ACCT` (linux/netfilter/nfnetlink.h), the upper byte of a message's kind.
const SUBSYSTEM: u16 = 7 << 8;
/// `NFNL_MSG_ACCT_NEW`, linux/netfilter/nfnetlink_acct.h; answers are of this kind, too.
const NEW: u16 = SUBSYSTEM;
/// `NFNL_MSG_ACCT_GET`, which leaves the counter as it is.
const GET: u16 = SUBSYSTEM | 1;
/// `NFACCT_NAME`, linux/netfilter/nfnetlink_acct.h.
const NAME: u16 = 1;
/// `NFACCT_PKTS`, 64 bits in the network's byte order.
const PACKETS: u16 = 2;
/// `struct nfgenmsg` of no family: `AF_UNSPEC`, `NFNETLINK_V0`, no resource.
const HEADER: [u8; 4] = [0; 4];
/// kube-proxy's metric of [`INVALID_DROPPED`].
const INVALID_DROPPED_PACKETS: &str = "kubeproxy_iptables_ct_state_invalid_dropped_packets_total";
/// kube-proxy's metric of [`LOCALHOST_ACCEPTED`].
const LOCALHOST_ACCEPTED_PACKETS: &str = "kubeproxy_iptables_localhost_nodeports_accepted_packets_total";
/// `EBUSY`, linux/errno-base.h: an object of this name is there.
const EXISTS: i32 = 16;

/// Sees to it that the counters are there, in the network namespace of the calling thread, and says which
/// are.
pub(crate) fn make() -> Counters {
    let Ok(mut socket) = NetlinkSocket::open(Protocol::Netfilter) else { return Counters::default() };
    let mut has = |name| match new(&mut socket, name) {
        Ok(()) => true,
        Err(error) if error.errno() == Some(EXISTS) => true,
        Err(error) => {
            tracing::debug!(name, error = error_chain(&error), "rules do without a counter of nfacct");
            false
        }
    };
    Counters { invalid_dropped: has(INVALID_DROPPED), localhost_accepted: has(LOCALHOST_ACCEPTED) }
}

/// Which counters rules in force name, family by family: the backends tell, whoever shows them asks.
///
/// The kernel is asked for no others. Where it has none at all, each question would have it look for a module.
#[derive(Debug, Default)]
pub(crate) struct Counting(Mutex<PerFamily<Counters>>);

impl Counting {
    /// The rules of `family` name these counters from now on, and no others.
    pub(crate) fn set(&self, family: IpFamily, counters: Counters) {
        let mut named = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        named[family] = counters;
    }

    /// The names of those that rules of any family name.
    fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        let PerFamily { v4, v6 } = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let named = [
            (INVALID_DROPPED, v4.invalid_dropped || v6.invalid_dropped),
            (LOCALHOST_ACCEPTED, v4.localhost_accepted || v6.localhost_accepted),
        ];
        named.into_iter().filter_map(|(name, is_named)| is_named.then_some(name))
    }

    /// How many packets the kernel has counted, in the network namespace of the calling thread, by kube-proxy's names.
    /// The kernel answers at once.
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        let mut names = self.names().peekable();
        if names.peek().is_none() {
            return Vec::new();
        }
        match NetlinkSocket::open(Protocol::Netfilter) {
            Ok(mut socket) => names.filter_map(|name| metric(&mut socket, name)).collect(),
            Err(error) => {
                tracing::warn!(error = error_chain(&error), "counters of nfacct cannot be read");
                Vec::new()
            }
        }
    }
}

fn metric(socket: &mut NetlinkSocket, name: &'static str) -> Option<Metric> {
    let shown = if name == INVALID_DROPPED { INVALID_DROPPED_PACKETS } else { LOCALHOST_ACCEPTED_PACKETS };
    match packets(socket, name) {
        Ok(packets) => Some(Metric::total(shown, packets?)),
        Err(error) => {
            tracing::warn!(name, error = error_chain(&error), "a counter of nfacct cannot be read");
            None
        }
    }
}

fn new(socket: &mut NetlinkSocket, name: &str) -> Result<(), NetlinkError> {
    socket.request(NEW, flag::ACK | flag::CREATE, |request| write(request, name), |(), _| {})
}

fn packets(socket: &mut NetlinkSocket, name: &str) -> Result<Option<u64>, NetlinkError> {
    let each =
        |packets: &mut Option<u64>, message: &Message<'_>| *packets = parse(message, name).or(*packets);
    socket.request(GET, flag::ACK, |request| write(request, name), each)
}

fn write(request: &mut MessageWriter<'_>, name: &str) {
    request.bytes(&HEADER).text(NAME, name);
}

/// How many packets the object of this name has counted, if the message is about it.
fn parse(message: &Message<'_>, name: &str) -> Option<u64> {
    let attributes = message.attributes(HEADER.len());
    let is_meant = message.kind == NEW && attributes.find_kind(NAME)?.as_str() == Some(name);
    attributes.find_kind(PACKETS).filter(|_| is_meant)?.as_be64()
}

#[cfg(test)]
mod tests {
    use portolan_netlink::MessageIter;

    use super::*;

    /// What a message of this kind and with these attributes says of `name`.
    fn parsed(kind: u16, attributes: &[(u16, &[u8])], name: &str) -> Option<u64> {
        let mut bytes = Vec::new();
        let mut writer = MessageWriter::new(&mut bytes, kind, 0, 1);
        writer.bytes(&HEADER);
        for (kind, value) in attributes {
            writer.attribute(*kind, value);
        }
        writer.finish().unwrap();
        parse(&MessageIter::new(&bytes).next().unwrap(), name)
    }

    // As `nfacct get dropped` has it from the kernel.
    const ANSWER: [(u16, &[u8]); 4] = [
        (1, b"dropped\0"),
        (2, &[0, 0, 0, 1, 0, 0, 2, 3]),
        (3, &[0, 0, 0, 0, 0, 0, 0, 84]),
        (4, &[0, 0, 0, 2]),
    ];

    #[test]
    fn packets_are_read_in_the_networks_byte_order() {
        assert_eq!(parsed(0x0700, &ANSWER, "dropped"), Some((1 << 32) + 0x203));
    }

    #[test]
    fn what_is_about_something_else_or_cut_off_says_nothing() {
        assert_eq!(parsed(0x0700, &ANSWER, "drop"), None);
        assert_eq!(parsed(0x0701, &ANSWER, "dropped"), None);
        assert_eq!(parsed(0x0700, &ANSWER[..1], "dropped"), None);
        assert_eq!(parsed(0x0700, &ANSWER[1..], "dropped"), None);
        assert_eq!(parsed(0x0700, &[ANSWER[0], (2, &[0, 0, 0, 1])], "dropped"), None);
    }

    #[test]
    fn a_counter_is_shown_while_rules_of_any_family_name_it() {
        let counting = Counting::default();
        let names = || counting.names().collect::<Vec<_>>();
        assert!(names().is_empty() && counting.metrics().is_empty());
        counting.set(IpFamily::V4, Counters { invalid_dropped: true, localhost_accepted: true });
        counting.set(IpFamily::V6, Counters { invalid_dropped: true, localhost_accepted: false });
        assert_eq!(names(), [INVALID_DROPPED, LOCALHOST_ACCEPTED]);
        counting.set(IpFamily::V4, Counters::default());
        assert_eq!(names(), [INVALID_DROPPED]);
        counting.set(IpFamily::V6, Counters::default());
        assert!(names().is_empty());
    }
}
