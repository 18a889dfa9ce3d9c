//! Packet counters of the kernel that rules can name: nfacct objects.
//!
//! The kernel rejects a rule that names a missing object, and not every kernel has nfacct. So the objects are created
//! first, as kube-proxy does, and stay when the proxy ends.
//!
//! Invariant: a counter is exported while programmed rules name it, with what the kernel has counted since the object
//! was created, perhaps for an earlier process; else it is absent, never zero. A scrape reads two objects, however
//! many rules there are.

use std::sync::{Mutex, PoisonError};

use portolan_core::backend::{Metric, error_chain};
use portolan_core::{IpFamily, PerFamily};
use portolan_netlink::{Message, MessageWriter, NetlinkError, NetlinkSocket, Protocol, flag};

use crate::options::{Counters, INVALID_DROPPED, LOCALHOST_ACCEPTED};

/// `NFNL_SUBSYS_ACCT` (linux/netfilter/nfnetlink.h), the upper byte of the message type.
const SUBSYSTEM: u16 = 7 << 8;
/// `NFNL_MSG_ACCT_NEW`, linux/netfilter/nfnetlink_acct.h; also the type of responses.
const NEW: u16 = SUBSYSTEM;
/// `NFNL_MSG_ACCT_GET`, which does not reset the counter.
const GET: u16 = SUBSYSTEM | 1;
/// `NFACCT_NAME`, linux/netfilter/nfnetlink_acct.h.
const NAME: u16 = 1;
/// `NFACCT_PKTS`, 64 bits in network byte order.
const PACKETS: u16 = 2;
/// `struct nfgenmsg` of no family: `AF_UNSPEC`, `NFNETLINK_V0`, no resource.
const HEADER: [u8; 4] = [0; 4];
/// kube-proxy's metric of [`INVALID_DROPPED`].
const INVALID_DROPPED_PACKETS: &str = "kubeproxy_iptables_ct_state_invalid_dropped_packets_total";
/// kube-proxy's metric of [`LOCALHOST_ACCEPTED`].
const LOCALHOST_ACCEPTED_PACKETS: &str = "kubeproxy_iptables_localhost_nodeports_accepted_packets_total";
/// `EBUSY`, linux/errno-base.h: the object exists.
const EXISTS: i32 = 16;

/// Creates the counters in the network namespace of the calling thread; returns those that exist.
pub(crate) fn create() -> Counters {
    let Ok(mut socket) = NetlinkSocket::open(Protocol::Netfilter) else { return Counters::default() };
    let mut has = |name| match new(&mut socket, name) {
        Ok(()) => true,
        Err(error) if error.errno() == Some(EXISTS) => true,
        Err(error) => {
            tracing::debug!(
                counter = name,
                err = error_chain(&error),
                "Cannot create an nfacct counter; rules go without it"
            );
            false
        }
    };
    Counters { invalid_dropped: has(INVALID_DROPPED), localhost_accepted: has(LOCALHOST_ACCEPTED) }
}

/// Which counters the programmed rules of each family name: set by the backends, read by metrics.
///
/// Other counters are not requested. On a kernel without nfacct, each request would try to load the module.
#[derive(Debug, Default)]
pub(crate) struct CountersInUse(Mutex<PerFamily<Counters>>);

impl CountersInUse {
    /// The rules of `family` now name these counters.
    pub(crate) fn set(&self, family: IpFamily, counters: Counters) {
        let mut named = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        named[family] = counters;
    }

    /// The counters that rules of any family name.
    fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        let PerFamily { v4, v6 } = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let named = [
            (INVALID_DROPPED, v4.invalid_dropped || v6.invalid_dropped),
            (LOCALHOST_ACCEPTED, v4.localhost_accepted || v6.localhost_accepted),
        ];
        named.into_iter().filter_map(|(name, is_named)| is_named.then_some(name))
    }

    /// The packets that the kernel has counted, in the network namespace of the calling thread, by kube-proxy's names.
    /// Never blocks: the kernel responds within the system call.
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        let mut names = self.names().peekable();
        if names.peek().is_none() {
            return Vec::new();
        }
        match NetlinkSocket::open(Protocol::Netfilter) {
            Ok(mut socket) => names.filter_map(|name| metric(&mut socket, name)).collect(),
            Err(error) => {
                tracing::warn!(err = error_chain(&error), "Cannot read nfacct counters");
                Vec::new()
            }
        }
    }
}

fn metric(socket: &mut NetlinkSocket, name: &'static str) -> Option<Metric> {
    let exported = if name == INVALID_DROPPED { INVALID_DROPPED_PACKETS } else { LOCALHOST_ACCEPTED_PACKETS };
    match packets(socket, name) {
        Ok(packets) => Some(Metric::total(exported, packets?)),
        Err(error) => {
            tracing::warn!(counter = name, err = error_chain(&error), "Cannot read an nfacct counter");
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

/// The packets that the object of this name has counted, if the message is about it.
fn parse(message: &Message<'_>, name: &str) -> Option<u64> {
    let attributes = message.attributes(HEADER.len());
    let is_named = message.kind == NEW && attributes.find_kind(NAME)?.as_str() == Some(name);
    attributes.find_kind(PACKETS).filter(|_| is_named)?.as_be64()
}

#[cfg(test)]
mod tests {
    use portolan_netlink::MessageIter;

    use super::*;

    /// Parses a message of this type with these attributes as a response about `name`.
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

    // As `nfacct get dropped` receives it.
    const ANSWER: [(u16, &[u8]); 4] = [
        (1, b"dropped\0"),
        (2, &[0, 0, 0, 1, 0, 0, 2, 3]),
        (3, &[0, 0, 0, 0, 0, 0, 0, 84]),
        (4, &[0, 0, 0, 2]),
    ];

    #[test]
    fn packets_are_parsed_in_network_byte_order() {
        assert_eq!(parsed(0x0700, &ANSWER, "dropped"), Some((1 << 32) + 0x203));
    }

    #[test]
    fn truncated_messages_and_those_about_another_object_are_ignored() {
        assert_eq!(parsed(0x0700, &ANSWER, "drop"), None);
        assert_eq!(parsed(0x0701, &ANSWER, "dropped"), None);
        assert_eq!(parsed(0x0700, &ANSWER[..1], "dropped"), None);
        assert_eq!(parsed(0x0700, &ANSWER[1..], "dropped"), None);
        assert_eq!(parsed(0x0700, &[ANSWER[0], (2, &[0, 0, 0, 1])], "dropped"), None);
    }

    #[test]
    fn a_counter_is_exported_while_rules_of_any_family_name_it() {
        let in_use = CountersInUse::default();
        let names = || in_use.names().collect::<Vec<_>>();
        assert!(names().is_empty() && in_use.metrics().is_empty());
        in_use.set(IpFamily::V4, Counters { invalid_dropped: true, localhost_accepted: true });
        in_use.set(IpFamily::V6, Counters { invalid_dropped: true, localhost_accepted: false });
        assert_eq!(names(), [INVALID_DROPPED, LOCALHOST_ACCEPTED]);
        in_use.set(IpFamily::V4, Counters::default());
        assert_eq!(names(), [INVALID_DROPPED]);
        in_use.set(IpFamily::V6, Counters::default());
        assert!(names().is_empty());
    }
}
