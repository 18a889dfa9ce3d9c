//! Writes keys and data by the type of each component.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::shown;
use crate::element::prefix_len;
use crate::selector::Datatype;
use crate::{Family, Selector};

/// Selectors joined by dots: `ip daddr . th dport`.
pub(super) fn concatenation(selectors: &[Selector], family: Family) -> impl fmt::Display {
    shown(move |f| {
        for (index, selector) in selectors.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { " . " }, selector.display(family))?;
        }
        Ok(())
    })
}

/// A key, a range of keys, or data: `10.96.0.10 . udp . 53`.
pub(super) fn key(
    first: &[u8],
    last: Option<&[u8]>,
    selectors: &[Selector],
    family: Family,
) -> impl fmt::Display {
    shown(move |f| {
        let (mut first, mut last) = (first, last);
        for (index, selector) in selectors.iter().enumerate() {
            let len = selector.len(family);
            let (first, last) = (cut(&mut first, len), last.as_mut().map(|last| cut(last, len)));
            f.write_str(if index == 0 { "" } else { " . " })?;
            write_range(f, first, last, selector.datatype(family))?;
        }
        Ok(())
    })
}

/// Takes one component off the front, with the padding that follows it.
fn cut<'a>(bytes: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (part, _) = bytes.split_at(len.min(bytes.len()));
    *bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    part
}

fn write_range(
    f: &mut fmt::Formatter<'_>,
    first: &[u8],
    last: Option<&[u8]>,
    datatype: Datatype,
) -> fmt::Result {
    write!(f, "{}", value(first, datatype))?;
    let Some(last) = last.filter(|last| *last != first) else { return Ok(()) };
    match prefix_len(first, last) {
        Some(bits) => write!(f, "/{bits}"),
        None => write!(f, "-{}", value(last, datatype)),
    }
}

/// One component; in hexadecimal digits if it does not fit its type.
pub(super) fn value(bytes: &[u8], datatype: Datatype) -> impl fmt::Display {
    shown(move |f| {
        write_known(f, bytes, datatype).unwrap_or_else(|| {
            f.write_str("0x")?;
            bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        })
    })
}

fn write_known(f: &mut fmt::Formatter<'_>, bytes: &[u8], datatype: Datatype) -> Option<fmt::Result> {
    let host_u32 = || bytes.try_into().ok().map(u32::from_ne_bytes);
    Some(match datatype {
        Datatype::Ipv4Addr => write!(f, "{}", Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        Datatype::Ipv6Addr => write!(f, "{}", Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        Datatype::InetProto => write_proto(f, *bytes.first()?),
        Datatype::InetService => write!(f, "{}", u16::from_be_bytes(bytes.try_into().ok()?)),
        Datatype::Integer => write!(f, "{}", host_u32()?),
        Datatype::Mark => write!(f, "{:#010x}", host_u32()?),
        Datatype::CtState => write_bits(f, &CT_STATES, host_u32()?),
        Datatype::CtStatus => write_bits(f, &CT_STATUSES, host_u32()?),
        Datatype::FibAddrType => write_fib_type(f, host_u32()?),
        Datatype::Ifname => {
            let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
            match name.split_last() {
                // Unescaped it would be a prefix match.
                Some((b'*', rest)) => write!(f, "\"{}\\*\"", String::from_utf8_lossy(rest)),
                _ => write!(f, "\"{}\"", String::from_utf8_lossy(name)),
            }
        }
    })
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

fn write_bits(f: &mut fmt::Formatter<'_>, names: &[(u32, &str)], bits: u32) -> fmt::Result {
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
pub(super) fn time(duration: Duration) -> impl fmt::Display {
    shown(move |f| {
        let mut rest = duration.as_millis();
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
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(first: [u8; 4], last: [u8; 4]) -> String {
        shown(|f| write_range(f, &first, Some(&last), Datatype::Ipv4Addr)).to_string()
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
        assert_eq!(time(Duration::from_secs(10_800)).to_string(), "3h");
        assert_eq!(time(Duration::from_millis(90_250)).to_string(), "1m30s250ms");
        assert_eq!(time(Duration::ZERO).to_string(), "0s");
    }
}
