//! The duration of commits: the longest in the report, and the progress of a long sync in the log.

use std::io;
use std::time::{Duration, Instant};

use portolan_core::ApplyReport;
use portolan_core::Protocol::Tcp;
use portolan_testkit::objects::{service, slice};

use super::intercepted::Intercepted;
use super::*;

/// Services of two endpoints: each is an address, a verdict and two slots in the table.
const SERVICES: u32 = 12;
/// Three Services fill a transaction.
const LIMIT: usize = 12;

/// Where all families' time is kept; it passes when a test says so.
#[derive(Clone, Default)]
struct Passed(Arc<Mutex<Duration>>);

impl Passed {
    fn pass(&self, time: Duration) {
        *self.0.lock().unwrap() += time;
    }

    fn clock(&self) -> portolan_backend_nftables::Clock {
        let (began, passed) = (Instant::now(), self.clone());
        Arc::new(move || began + *passed.0.lock().unwrap())
    }
}

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
    time: &Passed,
    events: impl IntoIterator<Item = Event>,
) -> Process<NftablesBackend<Intercepted>> {
    Process::start(config(), events, |family| {
        let backend = NftablesBackend::new(family, Arc::clone(tables));
        backend.with_transaction_limit(LIMIT).with_clock(time.clock())
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

/// The lines that `work` logs.
fn logged(work: impl FnOnce()) -> Vec<String> {
    let (reader, writer) = io::pipe().unwrap();
    let subscriber = tracing_subscriber::fmt().without_time().with_target(false).with_ansi(false);
    // The collector is dropped after the work, and with it the only sender.
    tracing::subscriber::with_default(subscriber.with_writer(Arc::new(writer)).finish(), work);
    io::read_to_string(reader).unwrap().lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn the_longest_transaction_reported_is_one_commit_and_not_all_of_them() {
    let tables = empty();
    let mut process = process(&tables, &Passed::default(), webs());
    let load = apply_in(&mut process, &tables, &[3, 4, 9, 5]);
    assert_eq!(load.longest_transaction, Duration::from_millis(9));

    // Twelve slots more are two transactions, and what the load took is forgotten.
    process.handle(web(1, 1..15));
    let change = apply_in(&mut process, &tables, &[2, 1]);
    assert_eq!(change.longest_transaction, Duration::from_millis(2));
}

#[test]
fn a_full_sync_in_several_transactions_logs_its_progress() {
    let (tables, time) = (empty(), Passed::default());
    let kernel = time.clone();
    tables.lock().unwrap().after_commit = Box::new(move |_, _| kernel.pass(Duration::from_millis(600)));
    let mut process = process(&tables, &time, webs());
    let lines = logged(|| _ = apply_in(&mut process, &tables, &[0; 4]));
    assert_eq!(
        lines,
        [
            "INFO Syncing service ports table=ip portolan synced=6 total=12 elapsed=1.2s",
            "INFO Syncing service ports table=ip portolan synced=12 total=12 elapsed=2.4s",
        ],
        "nothing after 0.6 s, nor 0.6 s after the last word"
    );
}

#[test]
fn a_table_that_takes_long_to_read_is_logged_with_its_size() {
    let (tables, time) = (empty(), Passed::default());
    apply_in(&mut process(&tables, &time, webs()), &tables, &[0; 4]);
    let kernel = time.clone();
    tables.lock().unwrap().reading_all = Box::new(move |_| kernel.pass(Duration::from_secs(3)));
    let mut process = process(&tables, &time, webs());
    let lines = logged(|| _ = apply_in(&mut process, &tables, &[]));
    assert_eq!(lines, ["INFO Read existing table table=ip portolan elements=48 duration=3s"]);
}
