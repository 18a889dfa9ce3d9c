//! What becomes of packets that nat chains decide about.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use portolan_nft::{
    Bytes, CT_STATE_NEW, Chain, ChainKind, Hook, MatchOp, NetlinkTables, PRIORITY_DSTNAT, Rule, Selector,
    Statement, Table, Tables, Transaction,
};
use portolan_testkit::netns::{Namespace, assert_ruleset_reloads, isolated, wait_until};

use crate::layout::{address, tables};

/// A chain that only jumps reach drops the port, called from a nat chain on arrival.
///
/// Without a rule that asks for connections the kernel tracks none, and nat chains see no packet.
fn drop_port(id: &portolan_nft::TableId, port: u16) -> Transaction {
    let is = |selector, value| Statement::Match { selector, op: MatchOp::Eq, value };
    let new = Statement::MatchBits { selector: Selector::CtState, mask: CT_STATE_NEW, op: MatchOp::Ne };
    let refused = Rule::new([
        new,
        is(Selector::L4Proto, Bytes::proto(6)),
        is(Selector::ThDport, Bytes::port(port)),
        Statement::Jump("dropped".into()),
    ]);
    let nat = Chain::base("prerouting", ChainKind::Nat, Hook::Prerouting, PRIORITY_DSTNAT);
    let mut load = Transaction::new(id.clone());
    load.add_table(Table::default())
        .add_chain(Chain::regular("dropped"))
        .add_chain(nat.clone())
        .add_rule("dropped", Rule::new([Statement::Drop]))
        .add_rule(nat.name, refused);
    load
}

/// Why there is no answer: no server listens, so an accepted packet is refused at once.
fn call(target: SocketAddr) -> io::ErrorKind {
    TcpStream::connect_timeout(&target, Duration::from_millis(500)).unwrap_err().kind()
}

#[test]
fn a_packet_that_a_nat_chain_drops_gets_no_answer() {
    isolated(|| {
        let node = Namespace::create("node").unwrap();
        let client = Namespace::create("client").unwrap();
        client.ip("link add eth0 type veth peer name eth0 netns node").unwrap();
        for id in tables() {
            for (namespace, last) in [(&client, 1), (&node, 2)] {
                let net = address(id.family, 50, last);
                let bits = if net.is_ipv4() { "24" } else { "64 nodad" };
                namespace.ip(&format!("addr add {net}/{bits} dev eth0")).unwrap();
                namespace.ip("link set eth0 up").unwrap();
            }
            let at = |port| SocketAddr::new(address(id.family, 50, 2), port);
            let answer = |port| client.run(|| call(at(port))).unwrap();
            // A fresh link takes a moment.
            let refused = || answer(80) == io::ErrorKind::ConnectionRefused;
            wait_until("the node refuses", Duration::from_secs(60), refused).unwrap();

            node.run(|| NetlinkTables::open().unwrap().commit(&drop_port(&id, 80)).unwrap()).unwrap();

            assert_eq!(answer(80), io::ErrorKind::TimedOut);
            assert_eq!(answer(81), io::ErrorKind::ConnectionRefused);
        }
        assert_ruleset_reloads(&node);
    });
}
