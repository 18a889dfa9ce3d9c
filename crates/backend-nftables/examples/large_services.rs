//! Measures what one endpoint costs in a large service, and a start with many services of their own chains.
//!
//! ```text
//! cargo build --release --example large_services -p portolan-backend-nftables
//! unshare -rn target/release/examples/large_services
//! ```
//!
//! For each kind of service one of 1,000 endpoints is exchanged many times, in slices of 100; `decide` is the
//! state's part, `apply` the backend's with the kernel's in it, both medians. Then a service with affinity
//! and 50,000 remembered clients loses an endpoint, and 2,000 services with affinity are
//! started and started again.

use std::error::Error;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use portolan_backend_nftables::NftablesBackend;
use portolan_core::Protocol::Tcp;
use portolan_core::event::Event;
use portolan_core::node::NodeConfig;
use portolan_core::{IpFamily, ProxyBackend, State};
use portolan_nft::{Bytes, Element, Family, NetlinkTables, TableId, Tables, Transaction};
use portolan_testkit::objects::{ServiceBuilder, empty_lists, ip, service, slice};

const ENDPOINTS: usize = 1_000;
const SLICE: usize = 100;
const REPEATS: usize = 101;
const CLIENTS: u32 = 50_000;
const SERVICES: usize = 1_000;
const HOURS: Duration = Duration::from_secs(10_800);

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A node's state with IPv4's backend.
struct Node {
    state: State,
    tables: Arc<Mutex<NetlinkTables>>,
    backend: NftablesBackend<NetlinkTables>,
    runtime: tokio::runtime::Runtime,
}

/// What one apply took.
struct Step {
    decide: Duration,
    apply: Duration,
    operations: usize,
}

impl Node {
    fn new() -> Outcome<Self> {
        let mut state = State::new(NodeConfig::new("n1"));
        for event in empty_lists() {
            state.handle(event);
        }
        let tables = Arc::new(Mutex::new(NetlinkTables::open()?));
        let backend = NftablesBackend::new(IpFamily::V4, Arc::clone(&tables));
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        Ok(Self { state, tables, backend, runtime })
    }

    /// Nothing is known of the kernel's tables any more.
    fn restart(&mut self) {
        self.backend = NftablesBackend::new(IpFamily::V4, Arc::clone(&self.tables));
        self.state.forget_applied(IpFamily::V4);
    }

    fn step(&mut self, events: impl IntoIterator<Item = Event>) -> Outcome<Step> {
        let began = Instant::now();
        events.into_iter().for_each(|event| self.state.handle(event));
        self.state.prepare();
        let decided = Instant::now();
        let (plan, changes) = (self.state.plan(IpFamily::V4), self.state.changes(IpFamily::V4));
        let report = self.runtime.block_on(self.backend.apply(plan, changes))?;
        let apply = decided.elapsed();
        self.state.committed(IpFamily::V4);
        Ok(Step { decide: decided - began, apply, operations: report.operations })
    }

    /// Lets so many clients be remembered for the first endpoint.
    fn remember(&self, map: &str, clients: u32) -> Outcome<()> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let table = TableId::new(Family::Ip, "portolan");
        let found = tables.dump_set(&table, map)?.and_then(|found| found.set).ok_or("no map of clients")?;
        let client = |number: u32| {
            let [_, b, c, d] = number.to_be_bytes();
            let element = Element::data(Bytes::addr([11, b, c, d].into()), Bytes::addr(endpoint(0, 0)));
            Element { expires: Some(HOURS), ..element }
        };
        let mut learn = Transaction::new(table);
        learn.add_elements(&found, (0..clients).map(client));
        tables.commit(&learn)?;
        Ok(())
    }
}

/// Endpoint `index`; every round has another first one.
fn endpoint(index: usize, round: usize) -> std::net::IpAddr {
    let third = if index == 0 { 200 + round % 2 } else { index / 250 };
    ip(&format!("10.244.{third}.{}", index % 250))
}

/// One of the slices with all endpoints.
fn endpoints(number: usize, round: usize) -> Event {
    let first = number * SLICE;
    let empty = slice(&format!("ns/big-{number}"), "big").port("", Tcp, 8080);
    let node = |index| if index % 2 == 0 { "n1" } else { "n2" };
    let all = (first..first + SLICE)
        .fold(empty, |slice, index| slice.on(node(index), &endpoint(index, round).to_string()));
    all.applied()
}

fn big() -> ServiceBuilder {
    service("ns/big", "10.96.0.1").port("", Tcp, 80).node_port(30_080).load_balancer_ip("203.0.113.1")
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn main() -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    let kinds = [
        ("plain", big()),
        ("affinity", big().affinity(HOURS)),
        ("local", big().external_local().health_check_node_port(32_000)),
        ("local, affinity", big().external_local().affinity(HOURS)),
    ];
    writeln!(
        out,
        "{:>16} | {:>10} {:>10} {:>10} | first load",
        "1,000 endpoints", "decide", "apply", "operations"
    )?;
    for (kind, service) in kinds {
        let mut node = Node::new()?;
        let all = (0..ENDPOINTS / SLICE).map(|number| endpoints(number, 0));
        let first = node.step(all.chain([service.applied()]))?;
        let steps: Vec<Step> =
            (1..=REPEATS).map(|round| node.step([endpoints(0, round)])).collect::<Outcome<_>>()?;
        let operations = steps.iter().map(|step| step.operations).max().unwrap_or_default();
        let decide = median(steps.iter().map(|step| step.decide).collect());
        let apply = median(steps.iter().map(|step| step.apply).collect());
        writeln!(out, "{kind:>16} | {decide:>10.0?} {apply:>10.0?} {operations:>10} | {:.1?}", first.apply)?;
        node.runtime.block_on(node.backend.cleanup())?;
    }
    clients(&mut out)?;
    many(&mut out)
}

/// An endpoint goes that very many clients are remembered for.
fn clients(out: &mut impl std::io::Write) -> Outcome<()> {
    let mut node = Node::new()?;
    let all = (0..ENDPOINTS / SLICE).map(|number| endpoints(number, 0));
    node.step(all.chain([big().affinity(HOURS).applied()]))?;
    node.remember("affinity-8080/ns/big/tcp/", CLIENTS)?;
    let step = node.step([endpoints(0, 1)])?;
    writeln!(
        out,
        "{CLIENTS} clients lose their endpoint: {:.1?}, {} operations",
        step.apply, step.operations
    )?;
    Ok(node.runtime.block_on(node.backend.cleanup())?)
}

/// Many services that have chains of their own.
fn many(out: &mut impl std::io::Write) -> Outcome<()> {
    let mut node = Node::new()?;
    let objects = (0..SERVICES).flat_map(|number| {
        let name = format!("svc{number}");
        let address = format!("10.97.{}.{}", number / 250, number % 250);
        let pods = slice(&format!("ns/{name}-1"), &name).port("", Tcp, 8080);
        let pods =
            pods.on("n1", &address.replace("10.97", "10.244")).on("n2", &address.replace("10.97", "10.245"));
        let port = u16::try_from(number).unwrap_or_default();
        let shop = service(&format!("ns/{name}"), &address).port("", Tcp, 80).node_port(30_000 + port);
        [shop.affinity(HOURS).applied(), pods.applied()]
    });
    let first = node.step(objects)?;
    writeln!(out, "{SERVICES} services with affinity: first load {:.0?}", first.apply)?;
    node.restart();
    let again = node.step([])?;
    writeln!(out, "  the next start {:.0?}, {} operations", again.apply, again.operations)?;
    let began = Instant::now();
    let dump = node
        .tables
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .dump(&TableId::new(Family::Ip, "portolan"))?;
    writeln!(
        out,
        "  of that {:.0?} for reading {} chains",
        began.elapsed(),
        dump.map_or(0, |dump| dump.chains.len())
    )?;
    let one = node.step([service("ns/svc7", "10.97.0.7").port("", Tcp, 80).node_port(30_007).applied()])?;
    writeln!(out, "  one of them loses its affinity: {:.1?}, {} operations", one.apply, one.operations)?;
    Ok(node.runtime.block_on(node.backend.cleanup())?)
}
