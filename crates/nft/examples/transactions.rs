//! Measures writing and committing the proxy's table at several sizes.
//!
//! ```text
//! cargo build --release --example transactions -p portolan-nft
//! unshare -n target/release/examples/transactions
//! ```
//!
//! Each size is loaded twice over, then one endpoint and one VIP are changed many
//! times; times are medians. `--quick` leaves the two largest sizes out.

use std::error::Error;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portolan_nft::{
    Bytes, Chain, ChainKind, Commit, Element, Family, Hook, NetlinkTables, PRIORITY_DSTNAT, Rule, Selector,
    Set, Statement, Table, TableId, Tables, Transaction, Verdict,
};

/// Services, and endpoints of each.
const SIZES: [(u32, u32); 4] = [(10_000, 2), (44_000, 1), (5_000, 50), (50_000, 10)];
const REPEATS: usize = 50;

fn main() -> Result<(), Box<dyn Error>> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:>8} {:>9} | {:>9} {:>9} {:>9} {:>7} | {:>9} | {:>8} {:>8} | {:>8} {:>8}",
        "services",
        "endpoints",
        "build",
        "encode",
        "kernel",
        "MB",
        "dump",
        "endpoint",
        "kernel",
        "vip",
        "kernel"
    )?;
    for (services, endpoints) in SIZES.into_iter().take(if quick { 2 } else { SIZES.len() }) {
        let row = measure(services, endpoints)?;
        writeln!(
            out,
            "{services:>8} {:>9} | {:>9} {:>9} {:>9} {:>7.1} | {:>9} | {:>8} {:>8} | {:>8} {:>8}",
            services * endpoints,
            show(row.build),
            show(row.load.encode),
            show(row.load.kernel),
            megabytes(row.load.bytes),
            show(row.dump),
            show(row.endpoint.encode),
            show(row.endpoint.kernel),
            show(row.vip.encode),
            show(row.vip.kernel),
        )?;
    }
    Ok(())
}

/// What one size took.
struct Measured {
    build: Duration,
    load: Commit,
    dump: Duration,
    endpoint: Commit,
    vip: Commit,
}

/// The sets of the table and its class of services.
struct Sets {
    id: TableId,
    services: Arc<Set>,
    endpoints: Arc<Set>,
    class: Arc<str>,
}

fn measure(services: u32, endpoints: u32) -> Result<Measured, Box<dyn Error>> {
    let mut tables = NetlinkTables::open()?;
    let sets = sets(endpoints);
    let started = Instant::now();
    let transaction = load(&sets, services, endpoints);
    let build = started.elapsed();
    let load = tables.commit(&transaction)?;
    drop(transaction);

    let started = Instant::now();
    let dumped = tables.dump(&sets.id)?.ok_or("the table is gone")?;
    let dump = started.elapsed();
    let held = dumped.set("endpoints").map_or(0, |set| set.elements.len());
    if held != usize::try_from(services * endpoints)? {
        return Err(format!("{held} endpoints were read back").into());
    }
    drop(dumped);

    let endpoint = median(REPEATS, |index| {
        let mut change = Transaction::new(sets.id.clone());
        let key = slot(index % services, 0);
        change.delete_elements(&sets.endpoints, [Element::key(key)]);
        change.add_elements(&sets.endpoints, [Element::data(key, target(index, 9000))]);
        tables.commit(&change)
    })?;
    let vip = median(REPEATS, |index| {
        let mut change = Transaction::new(sets.id.clone());
        let new = services + index;
        let added = (0..endpoints).map(|slot_| Element::data(slot(new, slot_), target(new, 80)));
        change.add_elements(&sets.endpoints, added);
        let goto = Verdict::Goto(Arc::clone(&sets.class));
        change.add_elements(&sets.services, [Element::verdict(vip_key(new), goto)]);
        tables.commit(&change)
    })?;
    let mut gone = Transaction::new(sets.id);
    gone.delete_table();
    tables.commit(&gone)?;
    Ok(Measured { build, load, dump, endpoint, vip })
}

fn sets(endpoints: u32) -> Sets {
    let vip = [Selector::Daddr, Selector::L4Proto, Selector::ThDport];
    let slot = Selector::NumgenRandom { modulus: 2 };
    Sets {
        id: TableId::new(Family::Ip, "portolan"),
        services: Arc::new(Set::verdict_map("services", vip)),
        endpoints: Arc::new(Set::map(
            "endpoints",
            [vip[0], vip[1], vip[2], slot],
            [Selector::Daddr, Selector::ThDport],
        )),
        class: format!("cluster-{endpoints}").into(),
    }
}

fn load(sets: &Sets, services: u32, endpoints: u32) -> Transaction {
    let key = sets.services.key.clone();
    let pick = |modulus| Statement::DnatMap {
        key: [&key[..], &[Selector::NumgenRandom { modulus }]].concat(),
        map: Arc::clone(&sets.endpoints.name),
    };
    let mut transaction = Transaction::new(sets.id.clone());
    transaction
        .add_table(Table::default())
        .add_chain(Chain::regular(Arc::clone(&sets.class)))
        .add_chain(Chain::regular("services"))
        .add_chain(Chain::base("prerouting", ChainKind::Nat, Hook::Prerouting, PRIORITY_DSTNAT))
        .add_set(Arc::clone(&sets.services))
        .add_set(Arc::clone(&sets.endpoints))
        .add_rule(Arc::clone(&sets.class), Rule::new([pick(endpoints)]))
        .add_rule(Arc::clone(&sets.class), Rule::new([pick(1)]))
        .add_rule("services", Rule::new([Statement::Vmap { key: key.clone(), map: "services".into() }]))
        .add_rule("prerouting", Rule::new([Statement::Jump("services".into())]));
    let all = (0..services).flat_map(|s| (0..endpoints).map(move |e| (s, e)));
    transaction
        .add_elements(&sets.endpoints, all.map(|(s, e)| Element::data(slot(s, e), target(s ^ e, 8080))));
    let goto = || Verdict::Goto(Arc::clone(&sets.class));
    transaction.add_elements(&sets.services, (0..services).map(|s| Element::verdict(vip_key(s), goto())));
    transaction
}

fn vip_key(service: u32) -> Bytes {
    let [_, b, c, d] = service.to_be_bytes();
    *Bytes::new().push_addr([10, 96 + b, c, d].into()).push_proto(6).push_port(80)
}

fn slot(service: u32, index: u32) -> Bytes {
    *vip_key(service).push_u32_host(index)
}

fn target(number: u32, port: u16) -> Bytes {
    let [_, b, c, d] = number.to_be_bytes();
    *Bytes::new().push_addr([10, 128 + b, c, d].into()).push_port(port)
}

fn median<E>(repeats: usize, mut once: impl FnMut(u32) -> Result<Commit, E>) -> Result<Commit, Box<dyn Error>>
where
    E: Error + 'static,
{
    let mut all = Vec::new();
    for index in 0..u32::try_from(repeats)? {
        all.push(once(index)?);
    }
    all.sort_by_key(|commit| commit.encode + commit.kernel);
    Ok(all[repeats / 2])
}

fn show(duration: Duration) -> String {
    let micros = duration.as_micros();
    if micros < 10_000 { format!("{micros} µs") } else { format!("{} ms", micros / 1000) }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}
