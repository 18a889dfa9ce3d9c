//! Small tables made by hand, a packet, and what the kernel would do with it.
//!
//! What is claimed of nat chains, loopback, interfaces, full sets and connections without tracking
//! was seen on Linux 6.18 with the same rules.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::fake::FakeTables;
use portolan_core::Protocol;
use portolan_nft::{
    Bytes, Chain, ChainKind, Element, Family, Hook, MatchOp, Rule, Selector, Set, Statement, Table, TableId,
    Tables as _, Transaction, Verdict,
};

use super::*;

mod chance;
mod connection;
mod learning;
mod order;
mod path;
mod set;
mod statement;
mod work;

const CLIENT: &str = "192.0.2.9:4000";
const NODE: &str = "192.0.2.1";
const VIP: &str = "10.96.0.1:80";

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

/// A pod's endpoint.
fn pod(number: u16) -> SocketAddr {
    let [high, low] = number.to_be_bytes();
    SocketAddr::from(([10, 244, high, low], 8080))
}

/// A node with one address of each family, pods behind `veth0` and the world behind `eth0`.
fn host() -> Host {
    Host::new("eth0")
        .with_address(NODE.parse().unwrap())
        .with_address("2001:db8::1".parse().unwrap())
        .with_network("10.244.0.0/16".parse().unwrap(), "veth0")
}

fn id() -> TableId {
    TableId::new(Family::Ip, "t")
}

/// One table, `ip t`.
fn table(fill: impl FnOnce(&mut Transaction)) -> FakeTables {
    let mut tables = FakeTables::new();
    add_table(&mut tables, id(), fill);
    tables
}

fn add_table(tables: &mut FakeTables, id: TableId, fill: impl FnOnce(&mut Transaction)) {
    let mut transaction = Transaction::new(id);
    transaction.add_table(Table::default());
    fill(&mut transaction);
    tables.commit(&transaction).unwrap();
}

/// A base chain with its rules.
fn base(
    transaction: &mut Transaction,
    (name, kind, hook, priority): (&str, ChainKind, Hook, i32),
    rules: impl IntoIterator<Item = Vec<Statement>>,
) {
    transaction.add_chain(Chain::base(name, kind, hook, priority));
    add_rules(transaction, name, rules);
}

/// A chain that only jumps reach, with its rules.
fn regular(transaction: &mut Transaction, name: &str, rules: impl IntoIterator<Item = Vec<Statement>>) {
    transaction.add_chain(Chain::regular(name));
    add_rules(transaction, name, rules);
}

fn add_rules(transaction: &mut Transaction, chain: &str, rules: impl IntoIterator<Item = Vec<Statement>>) {
    for rule in rules {
        transaction.add_rule(chain, Rule::new(rule));
    }
}

fn is(selector: Selector, value: Bytes) -> Statement {
    Statement::Match { selector, op: MatchOp::Eq, value }
}

fn to_port(port: u16) -> Statement {
    is(Selector::ThDport, Bytes::port(port))
}

/// An address and a port, as keys and data hold them.
fn socket(address: SocketAddr) -> Bytes {
    *Bytes::new().push_addr(address.ip()).push_port(address.port())
}

/// A map from the packet's port to where it shall go instead.
fn add_dnat_map(transaction: &mut Transaction, elements: &[(u16, SocketAddr)]) {
    let map = Arc::new(Set::map("dnat", [Selector::ThDport], [Selector::Daddr, Selector::ThDport]));
    transaction.add_set(Arc::clone(&map));
    let element = |(port, to): &(u16, SocketAddr)| Element::data(Bytes::port(*port), socket(*to));
    transaction.add_elements(&map, elements.iter().map(element));
}

fn dnat() -> Statement {
    Statement::DnatMap { key: vec![Selector::ThDport], map: "dnat".into() }
}

fn arriving(to: &str) -> Packet {
    Packet::arriving(Protocol::Tcp, at(CLIENT), at(to))
}

fn sent(to: &str) -> Packet {
    Packet::sent(Protocol::Tcp, SocketAddr::new(NODE.parse().unwrap(), 5000), at(to))
}

fn trace(tables: &FakeTables, packet: &Packet) -> Outcomes {
    Tracer::new(tables, &host()).trace(packet).unwrap()
}

/// The one thing that becomes of a packet.
#[track_caller]
fn outcome(tables: &FakeTables, packet: &Packet) -> Outcome {
    let outcomes = trace(tables, packet);
    outcomes.only().cloned().unwrap_or_else(|| panic!("several outcomes:\n{outcomes}"))
}

/// The chains whose rules the packet matched, in order.
fn chains(outcome: &Outcome) -> Vec<&str> {
    outcome
        .path
        .iter()
        .map(|step| match step {
            Step::Rule { chain, .. } => &**chain,
            Step::Unroutable(reason) => reason,
        })
        .collect()
}
