//! Writes keys and data by the type of each component.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::element::prefix_len;
use crate::selector::Datatype;
use crate::{Family, Selector};

/// Selectors joined by dots: `ip daddr . th dport`.
pub(crate) struct Concatenation<'a> {
    pub(crate) selectors: &'a [Selector],
    pub(crate) family: Family,
}

impl fmt::Display for Concatenation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, selector) in self.selectors.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { " . " }, selector.display(self.family))?;
        }
        Ok(())
    }
}

/// A key, a range of keys, or data: `10.96.0.10 . udp . 53`.
pub(crate) struct Key<'a> {
    pub(crate) first: &'a [u8],
    pub(crate) last: Option<&'a [u8]>,
    pub(crate) selectors: &'a [Selector],
    pub(crate) family: Family,
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut first, mut last) = (self.first, self.last);
        for (index, selector) in self.selectors.iter().enumerate() {
            let len = selector.len(self.family);
            let datatype = selector.datatype(self.family);
            let part =
                Range { first: cut(&mut first, len), last: last.as_mut().map(|l| cut(l, len)), datatype };
            write!(f, "{}{part}", if index == 0 { "" } else { " . " })?;
        }
        Ok(())
    }
}

/// Takes one component off the front, with the padding that follows it.
fn cut<'a>(bytes: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (part, _) = bytes.split_at(len.min(bytes.len()));
    *bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    part
}

struct Range<'a> {
    first: &'a [u8],
    last: Option<&'a [u8]>,
    datatype: Datatype,
}

impl fmt::Display for Range<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = Value { bytes: self.first, datatype: self.datatype };
        let Some(last) = self.last.filter(|last| *last != self.first) else { return write!(f, "{first}") };
        match prefix_len(self.first, last) {
            Some(bits) => write!(f, "{first}/{bits}"),
            None => write!(f, "{first}-{}", Value { bytes: last, datatype: self.datatype }),
        }
    }
}

/// One component.
pub(crate) struct Value<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) datatype: Datatype,
}

impl Value<'_> {
    fn host_u32(&self) -> Option<u32> {
        self.bytes.try_into().ok().map(u32::from_ne_bytes)
    }

    fn known(&self, f: &mut fmt::Formatter<'_>) -> Option<fmt::Result> {
        Some(match self.datatype {
            Datatype::Ipv4Addr => {
                write!(f, "{}", Ipv4Addr::from(<[u8; 4]>::try_from(self.bytes).ok()?))
            }
            Datatype::Ipv6Addr => {
                write!(f, "{}", Ipv6Addr::from(<[u8; 16]>::try_from(self.bytes).ok()?))
            }
            Datatype::InetProto => write_proto(f, *self.bytes.first()?),
            Datatype::InetService => write!(f, "{}", u16::from_be_bytes(self.bytes.try_into().ok()?)),
            Datatype::Integer => write!(f, "{}", self.host_u32()?),
            Datatype::Mark => write!(f, "{:#010x}", self.host_u32()?),
            Datatype::CtState => write_bits(f, &CT_STATES, self.host_u32()?),
            Datatype::CtStatus => write_bits(f, &CT_STATUSES, self.host_u32()?),
            Datatype::FibAddrType => write_fib_type(f, self.host_u32()?),
            Datatype::Ifname => {
                let name = self.bytes.split(|byte| *byte == 0).next().unwrap_or_default();
                match name.split_last() {
                    // Bare it would stand for all names that begin so.
                    Some((b'*', rest)) => write!(f, "\"{}\\*\"", String::from_utf8_lossy(rest)),
                    _ => write!(f, "\"{}\"", String::from_utf8_lossy(name)),
                }
            }
        })
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.known(f).unwrap_or_else(|| {
            f.write_str("0x")?;
            self.bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        })
    }
}

fn write_proto(f: &mut fmt::Formatter<'_>, number: u8) -> fmt::Result {
    match number {
        6 => f.write_str("tcp"),
        17 => f.write_str("udp"),
        132 => f.write_str("sctp"),
        other => write!(f, "{other}"),
    }
}

/// `IP_CT_*` states as bits, linux/netfilter/nf_conntrack_common.h.
const CT_STATES: [(u32, &str); 4] = [(1, "invalid"), (2, "established"), (4, "related"), (8, "new")];
/// `IPS_*` bits, linux/netfilter/nf_conntrack_common.h.
const CT_STATUSES: [(u32, &str); 6] =
    [(1, "expected"), (2, "seen-reply"), (4, "assured"), (8, "confirmed"), (16, "snat"), (32, "dnat")];

pub(super) fn write_bits(f: &mut fmt::Formatter<'_>, names: &[(u32, &str)], bits: u32) -> fmt::Result {
    let known = names.iter().fold(0, |all, (bit, _)| all | bit);
    if bits == 0 || bits & !known != 0 {
        return write!(f, "{bits:#x}");
    }
    let set: Vec<&str> = names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
    f.write_str(&set.join(","))
}

/// `RTN_*`, linux/rtnetlink.h.
fn write_fib_type(f: &mut fmt::Formatter<'_>, number: u32) -> fmt::Result {
    const NAMES: [&str; 9] = [
        "unspec",
        "unicast",
        "local",
        "broadcast",
        "anycast",
        "multicast",
        "blackhole",
        "unreachable",
        "prohibit",
    ];
    match usize::try_from(number).ok().and_then(|index| NAMES.get(index)) {
        Some(name) => f.write_str(name),
        None => write!(f, "{number}"),
    }
}

/// A duration as nft writes one: `3h`, `1m30s`, `250ms`.
pub(crate) struct Time(pub(crate) Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_millis();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, millis) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
            if rest >= millis {
                write!(f, "{}{unit}", rest / millis)?;
                rest %= millis;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(first: [u8; 4], last: [u8; 4]) -> String {
        Range { first: &first, last: Some(&last), datatype: Datatype::Ipv4Addr }.to_string()
    }

    #[test]
    fn ranges_that_are_prefixes_are_written_as_prefixes() {
        assert_eq!(show([10, 0, 0, 0], [10, 255, 255, 255]), "10.0.0.0/8");
        assert_eq!(show([10, 0, 0, 4], [10, 0, 0, 7]), "10.0.0.4/30");
        assert_eq!(show([10, 0, 0, 4], [10, 0, 0, 8]), "10.0.0.4-10.0.0.8");
        assert_eq!(show([10, 0, 0, 4], [10, 0, 0, 4]), "10.0.0.4");
        assert_eq!(show([0; 4], [255; 4]), "0.0.0.0/0");
    }

    #[test]
    fn times_are_written_in_the_largest_units() {
        assert_eq!(Time(Duration::from_secs(10_800)).to_string(), "3h");
        assert_eq!(Time(Duration::from_millis(90_250)).to_string(), "1m30s250ms");
        assert_eq!(Time(Duration::ZERO).to_string(), "0s");
    }
}
