//! Measures the two kinds of sets that cost more than a hash table: source ranges, which are
//! intervals of concatenations, and clients' affinities, which rules add.
//!
//! ```text
//! cargo build --release --example sets -p portolan-nft
//! unshare -n target/release/examples/sets
//! ```
//!
//! Last comes one client's entry read from the map of one Service, when many have such maps.
//!
//! What takes little time is repeated; such times are medians.

use std::error::Error;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use portolan_nft::{
    Bytes, Commit, Element, Family, NetlinkTables, Selector, Set, SetTimeout, Table, TableId, Tables,
    Transaction,
};

const RANGES: [u32; 3] = [1_000, 10_000, 30_000];
const RANGES_PER_VIP: u32 = 3;
const CLIENTS: [u32; 4] = [1_000, 10_000, 50_000, 262_144];
/// Elements of one transaction; more would not fit the send buffer of an unprivileged process.
const PART: usize = 50_000;
/// How many Services have a map of clients.
const MAPS: [u32; 4] = [1, 100, 1_000, 4_000];
const REPEATS: usize = 15;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "source ranges: {:>9} {:>10} {:>10} {:>10} {:>10}",
        "load", "dump", "add", "replace", "delete"
    )?;
    for count in RANGES {
        let [load, dump, add, replace, delete] = ranges(count)?.map(show);
        writeln!(out, "{count:>13}: {load:>9} {dump:>10} {add:>10} {replace:>10} {delete:>10}")?;
    }
    writeln!(out, "affinities:    {:>9} {:>10} {:>10}", "load", "dump", "delete")?;
    for count in CLIENTS {
        let [load, dump, delete] = affinities(count)?.map(show);
        writeln!(out, "{count:>13}: {load:>9} {dump:>10} {delete:>10}")?;
    }
    writeln!(out, "one map among:      dump")?;
    for count in MAPS {
        writeln!(out, "{count:>13}: {:>9}", show(one_among(count)?))?;
    }
    Ok(())
}

/// Load, dump, add one, replace one, delete one.
fn ranges(count: u32) -> Outcome<[Duration; 5]> {
    let vip = [Selector::Daddr, Selector::L4Proto, Selector::ThDport, Selector::Saddr];
    let set = Arc::new(Set::intervals("source-ranges", vip));
    let mut bench = Bench::new(&set)?;
    let load = bench.commit(|t| drop_of(t.add_elements(&set, (0..count).map(|index| source(index, 24)))))?;
    let dump = bench.dump(&set, count)?;
    let add = median(REPEATS, |index| {
        bench.commit(|t| drop_of(t.add_elements(&set, [source(count + index, 24)])))
    })?;
    let replace = median(REPEATS, |index| {
        bench.commit(|t| {
            t.delete_elements(&set, [source(index, 24)]).add_elements(&set, [source(index, 25)]);
        })
    })?;
    let delete = median(REPEATS, |index| {
        bench.commit(|t| drop_of(t.delete_elements(&set, [source(count + index, 24)])))
    })?;
    bench.commit(|t| drop_of(t.delete_table()))?;
    Ok([load, dump, add, replace, delete])
}

/// Load, dump, delete one.
fn affinities(count: u32) -> Outcome<[Duration; 3]> {
    let set = clients_of("affinity");
    let mut bench = Bench::new(&set)?;
    let mut load = Duration::ZERO;
    for first in (0..count).step_by(PART) {
        let part = first..count.min(first + u32::try_from(PART)?);
        load += bench.commit(|t| drop_of(t.add_elements(&set, part.map(learned))))?;
    }
    let dump = bench.dump(&set, count)?;
    let delete = median(REPEATS, |index| {
        bench.commit(|t| drop_of(t.delete_elements(&set, [Element::key(client(index))])))
    })?;
    bench.commit(|t| drop_of(t.delete_table()))?;
    Ok([load, dump, delete])
}

/// Read the map of one Service, of as many.
fn one_among(count: u32) -> Outcome<Duration> {
    let maps: Vec<_> = (0..count).map(|index| clients_of(&format!("affinity-{index}"))).collect();
    let wanted = &maps[maps.len() / 2];
    let mut bench = Bench::new(wanted)?;
    bench.commit(|t| {
        for map in maps.iter().filter(|map| !Arc::ptr_eq(map, wanted)) {
            t.add_set(Arc::clone(map));
        }
        for map in &maps {
            t.add_elements(map, [learned(1)]);
        }
    })?;
    let dump = median(REPEATS, |_| bench.dump(wanted, 1))?;
    bench.commit(|t| drop_of(t.delete_table()))?;
    Ok(dump)
}

/// Which endpoint each client of a Service went to.
fn clients_of(name: &str) -> Arc<Set> {
    let set = Set::map(name, [Selector::CtOriginalSaddr], [Selector::Daddr]);
    Arc::new(set.filled_by_rules(SetTimeout::PerElement, Some(262_144)))
}

fn client(index: u32) -> Bytes {
    Bytes::addr(Ipv4Addr::from(0x0a00_0000 + index).into())
}

fn learned(index: u32) -> Element {
    Element {
        expires: Some(Duration::from_secs(10_800)),
        ..Element::data(client(index), client(index % 100))
    }
}

fn drop_of(_: &mut Transaction) {}

/// One range of a VIP that has some more.
fn source(index: u32, bits: u8) -> Element {
    let [_, b, c, d] = (index / RANGES_PER_VIP).to_be_bytes();
    let head = *Bytes::new().push_addr([10, 96 + b, c, d].into()).push_proto(6).push_port(443);
    let net = IpAddr::from(Ipv4Addr::from(0xc000_0000 + (index % 65_536) * 256));
    Element::key_with_prefix(head, net, bits)
}

/// A table of one set.
struct Bench {
    tables: NetlinkTables,
    id: TableId,
}

impl Bench {
    fn new(set: &Arc<Set>) -> Outcome<Self> {
        let mut bench = Self { tables: NetlinkTables::open()?, id: TableId::new(Family::Ip, "portolan") };
        bench.commit(|t| drop_of(t.add_table(Table::default()).add_set(Arc::clone(set))))?;
        Ok(bench)
    }

    /// The time the kernel took.
    fn commit(&mut self, fill: impl FnOnce(&mut Transaction)) -> Outcome<Duration> {
        let mut transaction = Transaction::new(self.id.clone());
        fill(&mut transaction);
        let Commit { encode, kernel, .. } = self.tables.commit(&transaction)?;
        Ok(encode + kernel)
    }

    fn dump(&mut self, set: &Set, wanted: u32) -> Outcome<Duration> {
        let started = Instant::now();
        let dumped = self.tables.dump_set(&self.id, &set.name)?.ok_or("the set is gone")?;
        let took = started.elapsed();
        if dumped.elements.len() != usize::try_from(wanted)? {
            return Err(format!("{} elements were read back", dumped.elements.len()).into());
        }
        Ok(took)
    }
}

fn median(repeats: usize, mut once: impl FnMut(u32) -> Outcome<Duration>) -> Outcome<Duration> {
    let mut all = Vec::new();
    for index in 0..u32::try_from(repeats)? {
        all.push(once(index)?);
    }
    all.sort_unstable();
    Ok(all[repeats / 2])
}

fn show(duration: Duration) -> String {
    let micros = duration.as_micros();
    if micros < 10_000 { format!("{micros} µs") } else { format!("{} ms", micros / 1000) }
}
