//! What it costs when the clients of a service with affinity must forget an endpoint.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Context as _;
use portolan_nft::{Bytes, Element, Family, NetlinkTables, TableId, Tables as _, Transaction};

use super::place::Place;
use super::{Shape, TIMEOUT, lists};
use crate::cluster::Node;
use crate::measure::timed;
use crate::report::{Row, Seen, Unit};

/// Clients that are remembered when an endpoint goes.
const REMEMBERED: [u32; 2] = [100, 50_000];
/// One service, which loses one of its endpoints.
const BEFORE: Shape = Shape { services: 1, endpoints: 100, affinity: true };
const AFTER: Shape = Shape { endpoints: 99, ..BEFORE };

/// Measures it with few and with many clients.
pub(super) fn run(place: &Place, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    for clients in REMEMBERED {
        rows.push(place.in_node(|| forget(clients))??);
    }
    Ok(())
}

/// One of a hundred endpoints goes while so many clients are remembered.
fn forget(clients: u32) -> anyhow::Result<Row> {
    let mut node = Node::start()?;
    node.apply(lists(BEFORE))?;
    // A second socket could not write to a table that the first one owns, so this one waits.
    drop(node);
    remember(clients)?;
    let mut node = Node::start()?;
    node.apply(lists(BEFORE))?;
    let [_, fewer, _] = lists(AFTER);
    let (time, _) = timed(|| node.apply([fewer]))?;
    node.clean()?;
    Ok(Row {
        scenario: "forget".to_owned(),
        services: 1,
        endpoints: clients,
        measure: "once".to_owned(),
        seen: Seen::Outside,
        value: time.as_secs_f64(),
        unit: Unit::Seconds,
        target: None,
    })
}

/// Fills the map of clients, each led to one of the hundred endpoints.
fn remember(clients: u32) -> anyhow::Result<()> {
    let mut tables = NetlinkTables::open()?;
    let table = TableId::new(Family::Ip, "portolan");
    let map = tables.dump_set(&table, "affinity-8080/bench/c0/tcp/")?.and_then(|found| found.set);
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
