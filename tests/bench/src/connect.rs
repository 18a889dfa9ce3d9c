//! What a connection costs: set up directly, by a VIP, and by a VIP with session affinity, over few
//! endpoints and over many; and what it costs when clients must forget an endpoint.
//!
//! All ends are in this namespace: the endpoints' and clients' ranges are routed to `lo` as local,
//! so one server answers for every endpoint. A connection by VIP passes the output and loopback
//! hooks, so it takes all the rules that count here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use portolan_core::Protocol;
use portolan_core::event::Event;
use portolan_nft::{Bytes, Element, Family, NetlinkTables, TableId, Tables as _, Transaction};
use portolan_testkit::netns::Program;
use portolan_testkit::objects::{service, slice};
use socket2::{Domain, Socket, Type};

use crate::cluster::Node;
use crate::measure::{Samples, timed};
use crate::report::{Row, Seen, Unit};

/// Connections of each sort.
const CONNECTIONS: u32 = 4_000;
/// Clients that they come from.
const CLIENTS: u32 = 50;
/// How many endpoints the services have.
const SIZES: [u32; 2] = [3, 300];
/// Clients that are remembered when an endpoint goes.
const REMEMBERED: [u32; 2] = [100, 50_000];
/// How long a client is remembered.
const TIMEOUT: Duration = Duration::from_secs(10_800);

/// One sort of connection.
struct Way {
    scenario: &'static str,
    endpoints: u32,
    to: SocketAddr,
}

/// Measures setting up connections, and forgetting an endpoint.
pub(crate) fn run(rows: &mut Vec<Row>) -> anyhow::Result<()> {
    for command in [
        "link set lo up",
        "route add local 10.128.0.0/16 dev lo",
        "route add local 10.200.0.0/16 dev lo",
        // Something must route the VIPs out of the host before they are translated.
        "route add default dev lo",
    ] {
        Program::new("ip").args(command.split(' ')).run()?;
    }
    connections(rows)?;
    forgetting(rows)
}

fn row(scenario: &str, endpoints: u32, measure: &str, time: Duration) -> Row {
    Row {
        scenario: scenario.to_owned(),
        services: 1,
        endpoints,
        measure: measure.to_owned(),
        seen: Seen::Outside,
        value: time.as_secs_f64(),
        unit: Unit::Seconds,
        target: None,
    }
}

/// A Service with so many endpoints, with or without affinity.
fn objects(number: u8, endpoints: u32, affinity: bool) -> [Event; 2] {
    let name = format!("bench/c{number}");
    let web = service(&name, &format!("10.96.0.{number}")).port("", Protocol::Tcp, 80);
    let web = if affinity { web.affinity(TIMEOUT) } else { web };
    let pods = slice(&format!("{name}-1"), &format!("c{number}")).port("", Protocol::Tcp, 8080);
    let pods = (0..endpoints).fold(pods, |pods, index| {
        let [_, _, high, low] = (index + 1).to_be_bytes();
        pods.on("node2", &format!("10.128.{high}.{low}"))
    });
    [web.applied(), pods.applied()]
}

fn connections(rows: &mut Vec<Row>) -> anyhow::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:8080")?;
    // Serves until the process ends.
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            drop(stream);
        }
    });
    let mut node = Node::start()?;
    node.apply(crate::cluster::lists(0, 0))?;
    let vip = |number: u8| SocketAddr::from(([10, 96, 0, number], 80));
    let mut ways = vec![Way { scenario: "connect", endpoints: 0, to: ([10, 128, 0, 1], 8080).into() }];
    for (number, endpoints) in (1..).zip(SIZES) {
        node.apply(objects(number, endpoints, false))?;
        ways.push(Way { scenario: "connect-vip", endpoints, to: vip(number) });
    }
    for (number, endpoints) in (11..).zip(SIZES) {
        node.apply(objects(number, endpoints, true))?;
        ways.push(Way { scenario: "connect-affinity", endpoints, to: vip(number) });
    }
    let mut samples: Vec<Samples> = ways.iter().map(|_| Samples::default()).collect();
    // Taken in turn, so that whatever else the machine does falls on all alike.
    for round in 0..CONNECTIONS {
        for (way, samples) in ways.iter().zip(&mut samples) {
            let client = Ipv4Addr::from([10, 200, 0, u8::try_from(round % CLIENTS + 1)?]);
            samples.push(connect(client, way.to)?);
        }
    }
    for (way, samples) in ways.iter().zip(samples) {
        for (measure, percent) in [("p50", 50), ("p99", 99)] {
            rows.push(row(way.scenario, way.endpoints, measure, samples.percentile(percent)));
        }
    }
    node.clean()
}

/// Opens a connection, and closes it so that nothing of it stays.
fn connect(from: Ipv4Addr, to: SocketAddr) -> anyhow::Result<Duration> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_linger(Some(Duration::ZERO))?;
    socket.bind(&SocketAddr::new(from.into(), 0).into())?;
    let began = Instant::now();
    socket.connect(&to.into()).with_context(|| format!("{from} to {to}"))?;
    Ok(began.elapsed())
}

/// One of a hundred endpoints goes while so many clients are remembered.
fn forgetting(rows: &mut Vec<Row>) -> anyhow::Result<()> {
    for clients in REMEMBERED {
        let mut node = Node::start()?;
        node.apply(crate::cluster::lists(0, 0))?;
        node.apply(objects(1, 100, true))?;
        // A second socket could not write to a table that the first one owns, so this one waits.
        drop(node);
        remember(clients)?;
        let mut node = Node::start()?;
        let mut events: Vec<Event> = crate::cluster::lists(0, 0).into();
        events.extend(objects(1, 100, true));
        node.apply(events)?;
        let [_, fewer] = objects(1, 99, true);
        let (time, _) = timed(|| node.apply([fewer]))?;
        rows.push(row("forget", clients, "once", time));
        node.clean()?;
    }
    Ok(())
}

/// Fills the map of clients, each led to one of the hundred endpoints.
fn remember(clients: u32) -> anyhow::Result<()> {
    let mut tables = NetlinkTables::open()?;
    let table = TableId::new(Family::Ip, "portolan");
    let map = tables.dump_set(&table, "affinity-8080/bench/c1/tcp/")?.and_then(|found| found.set);
    let map = map.context("there is no map of clients")?;
    let led = |client: u32| {
        let from = IpAddr::from(Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 200, 0, 0)) + client));
        let [_, _, _, low] = (client % 100 + 1).to_be_bytes();
        let element = Element::data(Bytes::addr(from), Bytes::addr([10, 128, 0, low].into()));
        Element { expires: Some(TIMEOUT), ..element }
    };
    let mut fill = Transaction::new(table);
    fill.add_elements(&map, (0..clients).map(led));
    tables.commit(&fill)?;
    Ok(())
}
