//! Who gets through to a socket at all, as a packet filter for the kernel.
//!
//! A classic BPF program on a listening socket sees every packet before TCP does (`tcp_filter` in
//! `net/ipv4/tcp_ipv4.c`), so that whoever may not come in gets no answer, not even to the first packet.
//! Attaching one takes no privilege. It is the only way a relay can ignore a connection: what it accepts is
//! already established.
//!
//! Holds: a program lets through exactly whom [`Guard::admits`] names, as far as addresses tell.

use std::net::IpAddr;

use ipnet::IpNet;
use portolan_core::IpFamily;
use socket2::SockFilter;

/// The most instructions that the kernel takes: `BPF_MAXINSNS`, linux/bpf_common.h.
const MOST: usize = 4096;
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

/// Who gets through to a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Guard {
    /// Whether those outside this node do.
    pub(crate) scope: Scope,
    /// The ranges that a sender must also be in; none means that it need not.
    pub(crate) ranges: Box<[IpNet]>,
}

/// Where a sender must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Anywhere.
    Everywhere,
    /// On this node: a program on it, or one of its pods, which have addresses of this range.
    Inside(Option<IpNet>),
    /// Nobody is let through.
    Nowhere,
}

impl Guard {
    /// Lets everybody through.
    #[cfg(test)]
    pub(crate) fn open() -> Self {
        Self { scope: Scope::Everywhere, ranges: Box::default() }
    }

    /// Lets nobody through.
    pub(crate) fn closed() -> Self {
        Self { scope: Scope::Nowhere, ranges: Box::default() }
    }

    /// Whether a sender gets through; `is_node` says that it is a program on this node.
    pub(crate) fn admits(&self, sender: IpAddr, is_node: bool) -> bool {
        let is_here = match self.scope {
            Scope::Everywhere => true,
            Scope::Inside(pods) => is_node || pods.is_some_and(|pods| pods.contains(&sender)),
            Scope::Nowhere => false,
        };
        is_here && (self.ranges.is_empty() || self.ranges.iter().any(|range| range.contains(&sender)))
    }

    /// The program for sockets of a family; nothing where none is needed, or where it would be too long,
    /// and whoever accepts connections has to ask [`admits`](Self::admits) anyway.
    pub(crate) fn program(&self, family: IpFamily) -> Option<Vec<SockFilter>> {
        let instructions = self.instructions(family)?;
        Some(instructions.iter().map(|i| SockFilter::new(i.code, i.then, i.otherwise, i.k)).collect())
    }

    fn instructions(&self, family: IpFamily) -> Option<Vec<Instruction>> {
        let mut program = match self.scope {
            Scope::Everywhere if self.ranges.is_empty() => return None,
            Scope::Everywhere => Vec::new(),
            Scope::Inside(pods) => inside(family, pods),
            Scope::Nowhere => return Some(vec![Instruction::ret(Verdict::Drop)]),
        };
        for range in &self.ranges {
            program.extend(if_from(family, range, Instruction::ret(Verdict::Pass)));
        }
        let last = if self.ranges.is_empty() { Verdict::Pass } else { Verdict::Drop };
        program.push(Instruction::ret(last));
        (program.len() <= MOST).then_some(program)
    }
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Pass,
    Drop,
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

    /// The number returned is how many bytes of the packet to keep.
    fn ret(verdict: Verdict) -> Self {
        Self::new(code::RETURN, if verdict == Verdict::Pass { u32::MAX } else { 0 })
    }
}

/// Goes on after itself for senders on this node, and ends for others.
fn inside(family: IpFamily, pods: Option<IpNet>) -> Vec<Instruction> {
    let pods = pods.map(|pods| if_from(family, &pods, Instruction::new(code::JUMP, 1))).unwrap_or_default();
    let past_the_rest = u8::try_from(pods.len() + 1).unwrap_or(u8::MAX);
    let from_loopback = Instruction { then: past_the_rest, ..Instruction::new(code::JUMP_EQUAL, LOOPBACK) };
    let load = Instruction::new(code::LOAD_WORD, INTERFACE);
    [vec![load, from_loopback], pods, vec![Instruction::ret(Verdict::Drop)]].concat()
}

/// Does `action` for senders of a range, and goes on after it for others.
fn if_from(family: IpFamily, range: &IpNet, action: Instruction) -> Vec<Instruction> {
    let words = words_of(family, range);
    let length: usize = words.iter().map(|word| 2 + usize::from(word.mask != u32::MAX)).sum();
    let mut program = Vec::with_capacity(length + 1);
    for word in words {
        program.push(Instruction::new(code::LOAD_WORD, NETWORK_HEADER + word.offset));
        if word.mask != u32::MAX {
            program.push(Instruction::new(code::AND, word.mask));
        }
        // At most a dozen instructions and the action lie between here and the end.
        let to_the_end = u8::try_from(length - program.len()).unwrap_or(u8::MAX);
        program.push(Instruction { otherwise: to_the_end, ..Instruction::new(code::JUMP_EQUAL, word.value) });
    }
    program.push(action);
    program
}

/// A word of a source address, and what it must be.
struct Word {
    offset: u32,
    mask: u32,
    value: u32,
}

/// The words that a range says anything about. A source address stands at byte 12 of an IPv4 header
/// (RFC 791) and at byte 8 of an IPv6 header (RFC 8200).
fn words_of(family: IpFamily, range: &IpNet) -> Vec<Word> {
    let start = if family == IpFamily::V4 { 12 } else { 8 };
    let bytes = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let word = |bytes: &[u8]| bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
    let (values, masks) = (bytes(range.network()), bytes(range.netmask()));
    let words = values.chunks(4).zip(masks.chunks(4)).zip((start..).step_by(4));
    words
        .map(|((value, mask), offset)| Word { offset, mask: word(mask), value: word(value) })
        .filter(|word| word.mask != 0)
        .collect()
}

#[cfg(test)]
mod tests;
