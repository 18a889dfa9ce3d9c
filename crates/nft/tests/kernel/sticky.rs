//! Session affinity whole: a client's endpoint is learned by one packet and decides for the next.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use portolan_nft::{
    Bytes, CT_STATE_NEW, CT_STATUS_DNAT, Chain, ChainKind, Element, ElementValue, Family, Hook, MatchOp,
    NetlinkTables, PRIORITY_DSTNAT, Rule, Selector, Set, SetTimeout, Statement, Table, TableId, Tables,
    Transaction, Verdict,
};
use portolan_testkit::netns::{Namespace, isolated};

mod listing;

use Selector::{CtOriginalDaddr, CtOriginalProtoDst, CtOriginalSaddr, Daddr, L4Proto, Saddr, ThDport};

use crate::layout::{VIP, address, endpoint, sorted, vip_key};

const UDP: u8 = 17;
const HOURS: Duration = Duration::from_secs(3 * 3600);
const MINUTE: Duration = Duration::from_secs(60);
/// Numbers the packets of a test.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// The tables' parts for one service with affinity: VIP 10 port 53, endpoints 7 and 8 port 5353.
struct Sticky {
    id: TableId,
    service: String,
    affinity: Arc<Set>,
    endpoints: Arc<Set>,
}

impl Sticky {
    fn new(id: &TableId, service: &str) -> Self {
        let affinity = Set::map(format!("affinity-5353/{service}"), [CtOriginalSaddr], [Daddr])
            .filled_by_rules(SetTimeout::PerElement, Some(262_144));
        let endpoints = Set::map("endpoints", VIP, [Daddr, ThDport]);
        let (affinity, endpoints) = (Arc::new(affinity), Arc::new(endpoints));
        Self { id: id.clone(), service: service.to_owned(), affinity, endpoints }
    }

    fn learn_chain(&self) -> Arc<str> {
        format!("affinity-learn/{}", self.service).into()
    }

    fn udp() -> Statement {
        Statement::Match { selector: L4Proto, op: MatchOp::Eq, value: Bytes::proto(UDP) }
    }

    fn learn(&self, timeout: Duration) -> Rule {
        Rule::new([
            Self::udp(),
            Statement::Match { selector: ThDport, op: MatchOp::Eq, value: Bytes::port(5353) },
            Statement::InSet {
                key: vec![Daddr, ThDport],
                op: MatchOp::Eq,
                set: format!("affinity-endpoints/{}", self.service).into(),
            },
            Statement::UpdateMap {
                map: Arc::clone(&self.affinity.name),
                key: vec![CtOriginalSaddr],
                data: vec![Daddr],
                timeout: Some(timeout),
            },
        ])
    }

    /// Where connections that were sent on are looked up, by VIP and by port alone.
    fn dispatch(key: &[Selector], map: &str) -> Rule {
        let bits = |selector, mask| Statement::MatchBits { selector, mask, op: MatchOp::Ne };
        Rule::new([
            bits(Selector::CtState, CT_STATE_NEW),
            bits(Selector::CtStatus, CT_STATUS_DNAT),
            Self::udp(),
            Statement::Vmap { key: key.to_vec(), map: map.into() },
        ])
    }

    fn load(&self) -> Transaction {
        let family = self.id.family;
        let (learn, class) = (self.learn_chain(), Arc::<str>::from(format!("affinity/{}", self.service)));
        let known = Set::new(format!("affinity-endpoints/{}", self.service), [Daddr, ThDport]);
        let services = Set::verdict_map("affinity-services", [CtOriginalDaddr, L4Proto, ThDport]);
        let nodeports = Set::verdict_map("affinity-nodeports", [L4Proto, ThDport]);
        let (known, services, nodeports) = (Arc::new(known), Arc::new(services), Arc::new(nodeports));
        let pick = |last| Element::data(vip_key(family, 10, UDP, 53), endpoint(family, last, 5353));
        let to_learn = |key| [Element::verdict(key, Verdict::Goto(Arc::clone(&learn)))];
        let port = *Bytes::new().push_proto(UDP).push_port(30_053);
        let again =
            Statement::DnatMapPort { key: vec![Saddr], map: Arc::clone(&self.affinity.name), port: 5353 };
        let mut load = Transaction::new(self.id.clone());
        load.add_table(Table::default())
            .add_chain(Chain::regular(Arc::clone(&learn)))
            .add_chain(Chain::regular(Arc::clone(&class)))
            .add_chain(Chain::base("nat-output", ChainKind::Nat, Hook::Output, PRIORITY_DSTNAT));
        for (chain, hook) in [("filter-output", Hook::Output), ("filter-prerouting", Hook::Prerouting)] {
            load.add_chain(Chain::base(chain, ChainKind::Filter, hook, PRIORITY_DSTNAT + 10));
        }
        load.add_set(Arc::clone(&self.affinity))
            .add_set(Arc::clone(&self.endpoints))
            .add_set(Arc::clone(&known))
            .add_set(Arc::clone(&services))
            .add_set(Arc::clone(&nodeports))
            .add_elements(&known, [7, 8].map(|last| Element::key(endpoint(family, last, 5353))))
            .add_elements(&self.endpoints, [pick(7)])
            .add_elements(&services, to_learn(vip_key(family, 10, UDP, 53)))
            .add_elements(&nodeports, to_learn(port))
            .add_rule(Arc::clone(&learn), self.learn(HOURS))
            .add_rule(Arc::clone(&class), Rule::new([Self::udp(), again]))
            .add_rule(
                Arc::clone(&class),
                Rule::new([Statement::DnatMap { key: VIP.to_vec(), map: "endpoints".into() }]),
            )
            .add_rule("nat-output", Rule::new([Statement::Goto(class)]));
        for chain in ["filter-output", "filter-prerouting"] {
            let vip = [CtOriginalDaddr, L4Proto, CtOriginalProtoDst];
            load.add_rule(chain, Self::dispatch(&vip, "affinity-services"));
            load.add_rule(chain, Self::dispatch(&vip[1..], "affinity-nodeports"));
        }
        load
    }

    fn set_time(&self, tables: &mut NetlinkTables, timeout: Duration) {
        let mut change = Transaction::new(self.id.clone());
        change.flush_chain(self.learn_chain()).add_rule(self.learn_chain(), self.learn(timeout));
        tables.commit(&change).unwrap();
    }

    fn learned(&self, tables: &mut NetlinkTables) -> Vec<Element> {
        let dumped = tables.dump_set(&self.id, &self.affinity.name).unwrap().unwrap();
        assert_eq!(dumped.set.as_ref(), Some(&self.affinity));
        sorted(dumped.elements.iter())
    }
}

/// A namespace that has all addresses: of the VIP, of a client and of both endpoints.
fn node(family: Family) -> Namespace {
    let node = Namespace::create("node").unwrap();
    node.ip("link set lo up").unwrap();
    for (net, last) in [(96, 10), (50, 1), (244, 7), (244, 8)] {
        let flag = if family == Family::Ip6 { "nodad" } else { "" };
        node.ip(&format!("addr add {} dev lo {flag}", address(family, net, last))).unwrap();
    }
    node
}

/// A new connection from the client to the VIP, with something to tell it by.
fn call(family: Family, mark: &[u8]) {
    let client = UdpSocket::bind((address(family, 50, 1), 0)).unwrap();
    client.send_to(mark, (address(family, 96, 10), 53)).unwrap();
}

/// Calls until the server has been reached: a busy host may drop a packet.
fn call_until_served(family: Family, server: &UdpSocket) {
    let mut buffer = [0; 16];
    for _ in 0..50 {
        let mark = CALLS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        call(family, &mark);
        while let Ok((length, from)) = server.recv_from(&mut buffer) {
            if buffer[..length] == mark[..] {
                return assert_eq!(from.ip(), address(family, 50, 1));
            }
        }
    }
    panic!("the endpoint was never reached");
}

fn server(family: Family, last: u8) -> UdpSocket {
    let server = UdpSocket::bind(SocketAddr::new(address(family, 244, last), 5353)).unwrap();
    server.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    server
}

fn follows_a_client(family: Family) {
    let sticky = Sticky::new(&TableId::new(family, "portolan"), "shop/web/udp/dns");
    let mut tables = NetlinkTables::open().unwrap();
    tables.commit(&sticky.load()).unwrap();
    let first = server(family, 7);
    call_until_served(family, &first);
    let [learned] = sticky.learned(&mut tables).try_into().unwrap();
    assert_eq!(learned.key, Bytes::addr(address(family, 50, 1)));
    assert_eq!(learned.value, ElementValue::Data(Bytes::addr(address(family, 244, 7))));

    // New clients would get the other endpoint from now on.
    let key = vip_key(family, 10, UDP, 53);
    let mut change = Transaction::new(sticky.id.clone());
    change
        .delete_elements(&sticky.endpoints, [Element::key(key)])
        .add_elements(&sticky.endpoints, [Element::data(key, endpoint(family, 8, 5353))]);
    tables.commit(&change).unwrap();
    call_until_served(family, &first);

    let mut forget = Transaction::new(sticky.id.clone());
    forget.delete_elements(&sticky.affinity, [Element::key(learned.key)]);
    tables.commit(&forget).unwrap();
    let second = server(family, 8);
    call_until_served(family, &second);
}

#[test]
fn a_client_stays_with_its_endpoint_until_that_is_forgotten() {
    isolated(|| node(Family::Ip).run(|| follows_a_client(Family::Ip)).unwrap());
}

#[test]
fn an_ip6_client_stays_with_its_endpoint_until_that_is_forgotten() {
    isolated(|| node(Family::Ip6).run(|| follows_a_client(Family::Ip6)).unwrap());
}

fn left(sticky: &Sticky, tables: &mut NetlinkTables) -> Duration {
    let [only] = sticky.learned(tables).try_into().unwrap();
    only.expires.unwrap()
}

fn takes_the_rules_time(family: Family) {
    let sticky = Sticky::new(&TableId::new(family, "portolan"), "shop/web/udp/dns");
    let mut tables = NetlinkTables::open().unwrap();
    tables.commit(&sticky.load()).unwrap();
    let server = server(family, 7);
    let call = || call_until_served(family, &server);
    call();
    assert!(left(&sticky, &mut tables) + MINUTE > HOURS);

    sticky.set_time(&mut tables, MINUTE);
    assert!(left(&sticky, &mut tables) + MINUTE > HOURS, "the rule alone shortens nothing");
    call();
    assert!(left(&sticky, &mut tables) <= MINUTE);

    sticky.set_time(&mut tables, 2 * HOURS);
    call();
    assert!(left(&sticky, &mut tables) + MINUTE > 2 * HOURS);
}

#[test]
fn a_changed_time_out_holds_from_a_clients_next_connection_on() {
    isolated(|| node(Family::Ip).run(|| takes_the_rules_time(Family::Ip)).unwrap());
}

#[test]
fn a_changed_ip6_time_out_holds_from_a_clients_next_connection_on() {
    isolated(|| node(Family::Ip6).run(|| takes_the_rules_time(Family::Ip6)).unwrap());
}
