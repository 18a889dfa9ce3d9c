//! What is told of the time that commits take.

use std::time::Duration;

use portolan_core::ApplyReport;
use portolan_core::Protocol::Tcp;
use portolan_testkit::objects::{service, slice};

use super::intercepted::Intercepted;
use super::*;

/// Services of two endpoints: each is an address, a verdict and two slots in the table.
const SERVICES: u32 = 12;
/// Three Services fill a transaction.
const LIMIT: usize = 12;

fn web(number: u32, endpoints: std::ops::Range<u32>) -> [Event; 2] {
    let pods = slice(&format!("ns/web{number}-1"), &format!("web{number}")).port("", Tcp, 8080);
    let pods = endpoints.fold(pods, |pods, i| pods.on("n2", &format!("10.244.{number}.{i}")));
    let web = service(&format!("ns/web{number}"), &format!("10.96.0.{number}")).port("", Tcp, 80);
    [pods.applied(), web.applied()]
}

fn webs() -> impl Iterator<Item = Event> {
    (1..=SERVICES).flat_map(|number| web(number, 1..3))
}

/// Empty tables.
fn empty() -> Arc<Mutex<Intercepted>> {
    Arc::new(Mutex::new(Intercepted::new(FakeTables::new().with_features(Features::default()))))
}

/// A process that knows some Services and has applied nothing.
fn process(
    tables: &Arc<Mutex<Intercepted>>,
    events: impl IntoIterator<Item = Event>,
) -> Process<NftablesBackend<Intercepted>> {
    Process::start(config(), events, |family| {
        let backend = NftablesBackend::new(family, Arc::clone(tables));
        backend.with_transaction_limit(LIMIT)
    })
}

/// Applies what is pending for IPv4 to a kernel that takes so many milliseconds for one commit after the other.
fn apply_in(
    process: &mut Process<NftablesBackend<Intercepted>>,
    tables: &Mutex<Intercepted>,
    milliseconds: &[u64],
) -> ApplyReport {
    tables.lock().unwrap().took = milliseconds.iter().copied().map(Duration::from_millis).collect();
    let apply =
        |backend: &mut NftablesBackend<_>, plan: &_, changes: &_| block_on(backend.apply(plan, changes));
    let report = process.try_apply_by(IpFamily::V4, apply).unwrap();
    assert_eq!(report.transactions, milliseconds.len(), "{report:?}");
    report
}

#[test]
fn the_longest_transaction_reported_is_one_commit_and_not_all_of_them() {
    let tables = empty();
    let mut process = process(&tables, webs());
    let load = apply_in(&mut process, &tables, &[3, 4, 9, 5]);
    assert_eq!(load.longest_transaction, Duration::from_millis(9));

    // Twelve slots more are two transactions, and what the load took is forgotten.
    process.handle(web(1, 1..15));
    let change = apply_in(&mut process, &tables, &[2, 1]);
    assert_eq!(change.longest_transaction, Duration::from_millis(2));
}
