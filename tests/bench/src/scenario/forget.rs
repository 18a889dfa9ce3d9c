//! What it costs when the clients of a Service with affinity must forget an endpoint.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::Context as _;
use portolan_nft::{Bytes, Element, Family, NetlinkTables, TableId, Tables as _, Transaction};

use super::{Bench, agreement};
use crate::findings::{Findings, Sheet};
use crate::measure::Start;
use crate::objects::{POD_PORT, Size, pod, service, slice, with_affinity};
use crate::progress::Progress;
use crate::proxy::Page;
use crate::seen::Generation;
use crate::stage::Stage;

/// Clients that are remembered when an endpoint goes.
const REMEMBERED: [u32; 2] = [100, 50_000];
/// Endpoints of the one Service, which loses the last of them.
const ENDPOINTS: u32 = 100;
/// For how long a client is remembered, Kubernetes' default.
const TIMEOUT: Duration = Duration::from_secs(10_800);

pub(super) fn run(bench: &Bench, findings: &mut Findings, progress: &mut Progress) -> anyhow::Result<()> {
    let remembered = bench.choose(&REMEMBERED[..], &REMEMBERED[..], &REMEMBERED[..1]);
    bench.each_on_stage(remembered, progress, |stage, clients| {
        forget(stage, *clients, &mut findings.sheet("forget", Size::new(1, *clients)))
    })
}

/// One of a hundred endpoints goes while so many clients are remembered.
fn forget(stage: &Stage, clients: u32, sheet: &mut Sheet<'_>) -> anyhow::Result<()> {
    stage.fill([with_affinity(service(0)), slice(0, 0, (0..ENDPOINTS).map(pod))].into_iter());
    // Other programs cannot write to a table that the proxy owns, so this one waits.
    stage.start_loaded()?.0.end()?;
    remember(clients)?;
    let (mut proxy, _) = stage.start_loaded()?;
    // Forgetting may take more commits than one.
    let generation = Generation::follow()?;
    let start = Start::now();
    stage.api.apply(slice(0, 0, (0..ENDPOINTS - 1).map(pod)));
    let is_done = |page: &Page| page.synced_at().is_some_and(|at| start.until(at) > 0.0);
    let page = proxy.wait_for("the endpoint is forgotten", is_done)?;
    agreement::since_start(sheet, "once", start, generation.end()?.last, page.synced_at(), None);
    proxy.end()
}

/// Fills the map of clients, each led to one of the hundred endpoints.
fn remember(clients: u32) -> anyhow::Result<()> {
    let mut tables = NetlinkTables::open()?;
    let table = TableId::new(Family::Ip, "portolan");
    let sets = tables.dump(&table)?.context("there is no table")?.sets;
    // Each port that endpoints have has its own map.
    let of_port = format!("affinity-{POD_PORT}/");
    let map = sets.into_iter().find(|set| set.name.starts_with(&of_port));
    let map = map.and_then(|found| found.set).context("there is no map of clients")?;
    let led = |client: u32| {
        let from = IpAddr::from(Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 200, 0, 0)) + client));
        let element = Element::data(Bytes::addr(from), Bytes::addr(pod(client % ENDPOINTS).into()));
        Element { expires: Some(TIMEOUT), ..element }
    };
    let mut fill = Transaction::new(table);
    fill.add_elements(&map, (0..clients).map(led));
    tables.commit(&fill)?;
    Ok(())
}
