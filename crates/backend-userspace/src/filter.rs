//! Which clients a socket lets in, as a packet filter in the kernel.
//!
//! A classic BPF program on a listening socket sees every packet before TCP does (`tcp_filter` in net/ipv4/tcp_ipv4.c), so
//! that other clients get no answer, not even to the first packet. It needs no privilege. A relay has no other way to
//! ignore a connection: what it accepts is already established.
//!
//! Invariant: a program passes exactly the clients that [`Guard::admits`] names, as far as addresses tell.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use portolan_core::ServicePort;
use portolan_core::plan::{LocalDetector, Unserved};
use socket2::SockFilter;

use crate::address::AddressKind;
use crate::balancer::{Origin, endpoints_for};

/// How many instructions the kernel takes: `BPF_MAXINSNS`, linux/bpf_common.h.
const MAX_INSTRUCTIONS: usize = 4096;
/// The loopback interface is the first of every network namespace: `LOOPBACK_IFINDEX`, net/flow.h.
const LOOPBACK: u32 = 1;

/// Opcodes, from linux/bpf_common.h: load a word, mask it, compare it, jump, end.
mod code {
    pub(super) const LOAD_WORD: u16 = 0x20;
    pub(super) const AND: u16 = 0x54;
    pub(super) const JUMP_EQUAL: u16 = 0x15;
    pub(super) const JUMP: u16 = 0x05;
    pub(super) const RETURN: u16 = 0x06;
}

/// Offsets that count from the network header (`SKF_NET_OFF`) or name a property of the packet
/// (`SKF_AD_OFF`), linux/filter.h.
const NETWORK_HEADER: u32 = 0xfff0_0000;
const INTERFACE: u32 = 0xffff_f000 + 8;

/// Which clients a socket lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Guard {
    /// Where a client must be.
    pub(crate) scope: Scope,
    /// The ranges that it must also be in; empty for all addresses.
    pub(crate) ranges: Box<[IpNet]>,
}

/// Where a client must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Anywhere.
    Everywhere,
    /// On this node: a program, or a pod with an address of this range.
    Inside(Option<IpNet>),
    /// No client is let in.
    Nowhere,
}

/// Which clients are let in at this kind of address of a service port; `None` where nothing listens, so that the kernel
/// rejects.
pub(crate) fn guard_for(
    port: &ServicePort,
    kind: AddressKind,
    detector: Option<&LocalDetector>,
) -> Option<Guard> {
    let is_unserved = |origin| endpoints_for(port, kind, origin).is_empty();
    let is_dropped = port.unserved == Unserved::Drop;
    let scope = match (is_unserved(Origin::Outside), is_unserved(Origin::Inside)) {
        (true, true) if is_dropped => return Some(Guard::closed()),
        (true, true) => return None,
        (true, false) if is_dropped => match detector {
            None => Scope::Inside(None),
            Some(LocalDetector::Cidr(pods)) => Scope::Inside(Some(*pods)),
            // A packet filter cannot tell pods by their interface; the client is checked when it is accepted.
            Some(_) => Scope::Everywhere,
        },
        _ => Scope::Everywhere,
    };
    let ranges = if kind == AddressKind::LoadBalancer { port.source_ranges.clone() } else { Box::default() };
    Some(Guard { scope, ranges })
}

impl Guard {
    /// Lets every client in.
    #[cfg(test)]
    pub(crate) fn open() -> Self {
        Self { scope: Scope::Everywhere, ranges: Box::default() }
    }

    /// Lets no client in.
    pub(crate) fn closed() -> Self {
        Self { scope: Scope::Nowhere, ranges: Box::default() }
    }

    /// Whether a client is let in; `is_node` says that it is a program on this node.
    pub(crate) fn admits(&self, client: IpAddr, is_node: bool) -> bool {
        let is_in_scope = match self.scope {
            Scope::Everywhere => true,
            Scope::Inside(pods) => is_node || pods.is_some_and(|pods| pods.contains(&client)),
            Scope::Nowhere => false,
        };
        is_in_scope && (self.ranges.is_empty() || self.ranges.iter().any(|range| range.contains(&client)))
    }

    /// The program for a socket; `None` where none is needed, or where it would be too long. Then
    /// [`admits`](Self::admits) decides when a client is accepted.
    pub(crate) fn program(&self) -> Option<Vec<SockFilter>> {
        let instructions = self.instructions()?;
        Some(instructions.iter().map(|i| SockFilter::new(i.code, i.then, i.otherwise, i.k)).collect())
    }

    fn instructions(&self) -> Option<Vec<Instruction>> {
        let mut program = match self.scope {
            Scope::Everywhere if self.ranges.is_empty() => return None,
            Scope::Everywhere => Vec::new(),
            Scope::Inside(pods) => inside(pods),
            Scope::Nowhere => return Some(vec![Instruction::end(false)]),
        };
        for range in &self.ranges {
            program.extend(if_from(range, Instruction::end(true)));
        }
        program.push(Instruction::end(self.ranges.is_empty()));
        (program.len() <= MAX_INSTRUCTIONS).then_some(program)
    }
}

/// One instruction, `struct sock_filter` of linux/filter.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    code: u16,
    /// How many instructions to skip when a comparison holds, and when it does not.
    then: u8,
    otherwise: u8,
    k: u32,
}

impl Instruction {
    fn new(code: u16, k: u32) -> Self {
        Self { code, then: 0, otherwise: 0, k }
    }

    /// Ends the program and passes or drops the packet: returns how many bytes of it to keep.
    fn end(passes: bool) -> Self {
        Self::new(code::RETURN, if passes { u32::MAX } else { 0 })
    }
}

/// Continues after its end for senders on this node, and drops others.
fn inside(pods: Option<IpNet>) -> Vec<Instruction> {
    let pods = pods.map(|pods| if_from(&pods, Instruction::new(code::JUMP, 1))).unwrap_or_default();
    let past_the_rest = u8::try_from(pods.len() + 1).unwrap_or(u8::MAX);
    let from_loopback = Instruction { then: past_the_rest, ..Instruction::new(code::JUMP_EQUAL, LOOPBACK) };
    let load = Instruction::new(code::LOAD_WORD, INTERFACE);
    [vec![load, from_loopback], pods, vec![Instruction::end(false)]].concat()
}

/// Does `action` for senders of a range, and continues after it for others. The source address is at byte 12 of an IPv4
/// header (RFC 791) and at byte 8 of an IPv6 header (RFC 8200).
fn if_from(range: &IpNet, action: Instruction) -> Vec<Instruction> {
    let (start, values, masks) = match range {
        IpNet::V4(range) => (12, vec![range.network().to_bits()], vec![range.netmask().to_bits()]),
        IpNet::V6(range) => (8, words(range.network()), words(range.netmask())),
    };
    let mut program = vec![action];
    let words = values.into_iter().zip(masks).zip((start..).step_by(4));
    let words: Vec<_> = words.filter(|((_, mask), _)| *mask != 0).collect();
    for ((value, mask), offset) in words.into_iter().rev() {
        // At most a dozen instructions lie between here and the end.
        let otherwise = u8::try_from(program.len()).unwrap_or(u8::MAX);
        let compare = Instruction { otherwise, ..Instruction::new(code::JUMP_EQUAL, value) };
        let masked = (mask != u32::MAX).then(|| Instruction::new(code::AND, mask));
        let load = Instruction::new(code::LOAD_WORD, NETWORK_HEADER + offset);
        program.splice(0..0, [load].into_iter().chain(masked).chain([compare]));
    }
    program
}

fn words(address: Ipv6Addr) -> Vec<u32> {
    address.octets().as_chunks().0.iter().map(|word| u32::from_be_bytes(*word)).collect()
}

#[cfg(test)]
mod tests;
