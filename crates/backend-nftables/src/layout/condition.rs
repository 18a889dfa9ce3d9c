//! Conditions that several rules share.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use portolan_core::plan::LocalDetector;
use portolan_core::{IpFamily, Protocol};
use portolan_nft::{Bytes, CT_STATE_NEW, CT_STATUS_DNAT, FIB_TYPE_LOCAL, MatchOp, Selector, Statement};

use super::ServiceSet;

/// The connection is a new one.
pub fn is_new() -> Statement {
    Statement::MatchBits { selector: Selector::CtState, mask: CT_STATE_NEW, op: MatchOp::Ne }
}

/// The destination was translated ([`MatchOp::Ne`]) or was not ([`MatchOp::Eq`]).
pub fn translated(op: MatchOp) -> Statement {
    Statement::MatchBits { selector: Selector::CtStatus, mask: CT_STATUS_DNAT, op }
}

/// The packet is of this protocol.
pub fn is_protocol(protocol: Protocol) -> Statement {
    let value = Bytes::proto(protocol.number());
    Statement::Match { selector: Selector::L4Proto, op: MatchOp::Eq, value }
}

/// The packet goes to this port.
pub fn to_port(port: u16) -> Statement {
    Statement::Match { selector: Selector::ThDport, op: MatchOp::Eq, value: Bytes::port(port) }
}

/// The packet's key is in a set ([`MatchOp::Eq`]) or is not ([`MatchOp::Ne`]).
pub fn listed(set: ServiceSet, op: MatchOp) -> Statement {
    Statement::InSet { key: set.key(), op, set: set.name().into() }
}

/// An address is one of this node's own.
pub fn is_local(selector: Selector) -> Statement {
    Statement::Match { selector, op: MatchOp::Eq, value: Bytes::u32_host(FIB_TYPE_LOCAL) }
}

/// The destination is no loopback address.
pub fn not_to_loopback(family: IpFamily) -> Statement {
    let (selector, op) = (Selector::Daddr, MatchOp::Ne);
    match family {
        IpFamily::V4 => {
            let value = Bytes::addr(IpAddr::from([127, 0, 0, 0]));
            Statement::MatchPrefix { selector, op, value, bits: 8 }
        }
        IpFamily::V6 => Statement::Match { selector, op, value: Bytes::addr(Ipv6Addr::LOCALHOST.into()) },
    }
}

/// A local pod sent the packet ([`MatchOp::Eq`]), or did not ([`MatchOp::Ne`]).
///
/// None for a detector that this crate does not know.
pub fn from_local_pod(detector: &LocalDetector, op: MatchOp) -> Option<Statement> {
    match detector {
        LocalDetector::Cidr(cidr) => Some(from_cidr(*cidr, op)),
        LocalDetector::Interface(name) => {
            Some(Statement::Match { selector: Selector::Iifname, op, value: Bytes::ifname(name) })
        }
        LocalDetector::InterfacePrefix(prefix) => {
            let bits = u8::try_from(prefix.len().min(Bytes::IFNAME - 1) * 8).unwrap_or(u8::MAX);
            let value = Bytes::ifname(prefix);
            Some(Statement::MatchPrefix { selector: Selector::Iifname, op, value, bits })
        }
        _ => None,
    }
}

fn from_cidr(cidr: IpNet, op: MatchOp) -> Statement {
    let bits = cidr.prefix_len();
    let (selector, value) = (Selector::Saddr, Bytes::addr(cidr.network()));
    if bits == cidr.max_prefix_len() {
        return Statement::Match { selector, op, value };
    }
    Statement::MatchPrefix { selector, op, value, bits }
}
