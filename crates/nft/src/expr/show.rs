//! Writes expressions the way `nft --debug=netlink` does, without the bytes' word order.

use std::fmt;

use super::{CtKey, Expr, FibAddress, LookupResult, MetaKey, PayloadBase};
use crate::MatchOp;

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Meta { key, to } => write!(f, "[ meta load {} => {to} ]", key.as_str()),
            Self::SetMeta { key, from } => write!(f, "[ meta set {} with {from} ]", key.as_str()),
            Self::Payload { base, offset, len, to } => {
                write!(f, "[ payload load {len}b @ {} header + {offset} => {to} ]", base.as_str())
            }
            Self::Ct { key, to } => write!(f, "[ ct load {} => {to} ]", key.as_str()),
            Self::FibType { address: FibAddress::Saddr, to } => write!(f, "[ fib saddr type => {to} ]"),
            Self::FibType { address: FibAddress::Daddr, to } => write!(f, "[ fib daddr type => {to} ]"),
            Self::NumgenRandom { modulus, to } => write!(f, "[ numgen {to} = random mod {modulus} ]"),
            Self::Cmp { from, op: MatchOp::Eq, value } => write!(f, "[ cmp eq {from} {value:x} ]"),
            Self::Cmp { from, op: MatchOp::Ne, value } => write!(f, "[ cmp neq {from} {value:x} ]"),
            Self::Bitwise { from, to, mask, xor } => {
                write!(f, "[ bitwise {to} = ( {from} & {mask:x} ) ^ {xor:x} ]")
            }
            Self::Lookup { from, set, result } => write!(f, "[ lookup {from} set {set}{result} ]"),
            Self::Immediate { to, value } => write!(f, "[ immediate {to} {value:x} ]"),
            Self::Verdict(verdict) => write!(f, "[ {verdict} ]"),
            _ => self.show_action(f),
        }
    }
}

impl Expr {
    fn show_action(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dnat { family, address, port, flags } => {
                write!(f, "[ dnat {family}")?;
                address.map_or(Ok(()), |register| write!(f, " address {register}"))?;
                port.map_or(Ok(()), |register| write!(f, " port {register}"))?;
                write!(f, " flags {flags:#x} ]")
            }
            Self::Masquerade { flags } => write!(f, "[ masq flags {flags:#x} ]"),
            Self::Reject { kind, code } => write!(f, "[ reject type {kind} code {code} ]"),
            Self::Update { key, data, set, timeout } => {
                write!(f, "[ update {set} key {key}")?;
                data.map_or(Ok(()), |register| write!(f, " data {register}"))?;
                timeout.map_or(Ok(()), |timeout| write!(f, " timeout {}ms", timeout.as_millis()))?;
                f.write_str(" ]")
            }
            Self::Counter => f.write_str("[ counter ]"),
            Self::Unknown(unknown) => write!(f, "[ unknown {} ]", unknown.name()),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for LookupResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Inverted => f.write_str(" inverted"),
            Self::Verdict => f.write_str(" => verdict"),
            Self::Register(register) => write!(f, " => {register}"),
        }
    }
}

impl MetaKey {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Mark => "mark",
            Self::Iifname => "iifname",
            Self::L4Proto => "l4proto",
        }
    }
}

impl CtKey {
    const fn as_str(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Status => "status",
            Self::ProtoDst => "original proto_dst",
            Self::SrcIp => "original src_ip",
            Self::DstIp => "original dst_ip",
            Self::SrcIp6 => "original src_ip6",
            Self::DstIp6 => "original dst_ip6",
        }
    }
}

impl PayloadBase {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Transport => "transport",
        }
    }
}
