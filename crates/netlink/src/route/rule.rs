//! Routing rules that match a packet's port.

use super::Family;
use crate::{Message, MessageWriter};

/// The length of `struct fib_rule_hdr`: family, lengths of the prefixes, tos, table, two unused, action, flags.
const HEADER: usize = 12;

/// `FRA_PRIORITY`, `FRA_TABLE`, `FRA_PROTOCOL`, `FRA_IP_PROTO` and `FRA_DPORT_RANGE`; the last three since Linux 4.17.
const PRIORITY: u16 = 6;
const TABLE: u16 = 15;
const PROTOCOL: u16 = 21;
const IP_PROTOCOL: u16 = 22;
const DESTINATION_PORTS: u16 = 24;
/// `FR_ACT_TO_TBL`.
const TO_TABLE: u8 = 1;

/// Looks packets of one protocol to one port up in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRule {
    /// The number of the protocol: `IPPROTO_*`.
    pub ip_protocol: u8,
    /// The destination port.
    pub port: u16,
    /// The table.
    pub table: u32,
    /// Rules are evaluated in ascending order of priority.
    pub priority: u32,
    /// What created the rule, as with routes.
    pub protocol: u8,
}

/// Requests all rules of a family.
pub fn write_rules_of(message: &mut MessageWriter<'_>, family: Family) {
    let mut header = [0; HEADER];
    header[0] = family.number();
    message.bytes(&header);
}

/// Writes a rule: to be added, or to be deleted. Kernels before 4.17 ignore attributes that they do not know, and
/// make a rule for all packets of it: read it back.
pub fn write_port_rule(message: &mut MessageWriter<'_>, family: Family, rule: &PortRule) {
    let mut header = [0; HEADER];
    header[0] = family.number();
    header[7] = TO_TABLE;
    let ports = [rule.port.to_ne_bytes(), rule.port.to_ne_bytes()].concat();
    message.bytes(&header);
    message.attribute(PRIORITY, &rule.priority.to_ne_bytes()).attribute(TABLE, &rule.table.to_ne_bytes());
    message.attribute(PROTOCOL, &[rule.protocol]).attribute(IP_PROTOCOL, &[rule.ip_protocol]);
    message.attribute(DESTINATION_PORTS, &ports);
}

/// Reads a rule, if it is for one port of one protocol and leads to a table.
pub fn read_port_rule(message: &Message<'_>) -> Option<PortRule> {
    let header = message.payload.first_chunk::<HEADER>()?;
    let attributes = message.attributes(HEADER);
    let number = |kind| attributes.find_kind(kind)?.as_u32();
    let byte = |kind| attributes.find_kind(kind)?.as_u8();
    let [first, last] = attributes.find_kind(DESTINATION_PORTS)?.value.as_chunks::<2>().0 else {
        return None;
    };
    let port = u16::from_ne_bytes(*first);
    let is_plain = header[7] == TO_TABLE && header[1..3] == [0, 0] && first == last;
    is_plain.then_some(PortRule {
        ip_protocol: byte(IP_PROTOCOL)?,
        port,
        table: number(TABLE)?,
        priority: number(PRIORITY)?,
        protocol: byte(PROTOCOL)?,
    })
}
