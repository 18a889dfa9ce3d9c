//! When stale flows are searched for, with a scripted cleaner.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portolan_core::IpFamily::{V4, V6};
use portolan_core::backend::Retry;
use portolan_core::event::{Change, Event};
use portolan_core::flows::{Flow, FlowError, StaleFlow};
use portolan_core::{FlowCheck, FlowCleaner, IpFamily, PerFamily, Protocol};
use portolan_testkit::objects::{empty_lists, service, service_cidr, slice};
use tokio::time::Instant;
use tracing::Level;

use super::logging::Lines;
use super::rig::*;
use crate::Stopped;

/// One search.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Search {
    /// Milliseconds since the rig was set up.
    at: u128,
    /// The ports of the addresses in question, sorted.
    ports: Vec<u16>,
}

/// The port of a Service that is there from the start to the end, in both families. No change leaves
/// flows of it in question, so a search with this port is one of everything.
const LASTING: u16 = 7;

#[derive(Default)]
struct Script {
    searches: Vec<Search>,
    /// What searches find, used up one by one; after that nothing.
    results: VecDeque<Result<Vec<Flow>, &'static str>>,
    /// The same of removals; after that they succeed.
    removals: VecDeque<Result<(), &'static str>>,
    /// The flows of each call that removed some.
    removed: Vec<Vec<Flow>>,
    /// Keeps the next search waiting until its sender is dropped.
    gate: Option<Receiver<()>>,
}

#[derive(Clone)]
struct Scripted {
    start: Instant,
    script: Arc<Mutex<Script>>,
}

impl FlowCleaner for Scripted {
    fn find_stale(&mut self, _: IpFamily, check: &FlowCheck) -> Result<Vec<StaleFlow>, FlowError> {
        let (gate, result) = {
            let mut script = self.script.lock().unwrap();
            let mut ports: Vec<_> = check.destinations().map(|destination| destination.port).collect();
            ports.sort_unstable();
            script.searches.push(Search { at: self.start.elapsed().as_millis(), ports });
            (script.gate.take(), script.results.pop_front().unwrap_or(Ok(Vec::new())))
        };
        if let Some(gate) = gate {
            let _ = gate.recv();
        }
        let stale = |flow| StaleFlow { flow, is_by_node_port: false, handle: Box::default() };
        result.map(|flows| flows.into_iter().map(stale).collect()).map_err(failure)
    }

    fn remove(&mut self, _: IpFamily, flows: &[StaleFlow]) -> Result<usize, FlowError> {
        let mut script = self.script.lock().unwrap();
        script.removals.pop_front().unwrap_or(Ok(())).map_err(failure)?;
        if !flows.is_empty() {
            script.removed.push(flows.iter().map(|stale| stale.flow).collect());
        }
        Ok(flows.len())
    }
}

fn failure(action: &str) -> FlowError {
    FlowError { action: action.into(), source: Box::new(io::Error::other("not permitted")) }
}

/// A flow to a VIP that leads to a pod.
fn flow(vip: &str, pod: &str) -> Flow {
    let source = "198.51.100.1:40000".parse().unwrap();
    let [destination, reply_source] = [vip, pod].map(|end| end.parse().unwrap());
    Flow { source, destination, reply_source, reply_destination: source }
}

/// So many flows to what no Service has.
fn flows(count: usize) -> Vec<Flow> {
    vec![flow("10.96.9.9:9", "10.244.9.9:9"); count]
}

impl Scripted {
    fn searches(&self) -> Vec<Search> {
        std::mem::take(&mut self.script.lock().unwrap().searches)
    }

    fn script(&self, results: impl IntoIterator<Item = Result<usize, &'static str>>) {
        self.script.lock().unwrap().results.extend(results.into_iter().map(|result| result.map(flows)));
    }

    /// What the next search finds.
    fn find(&self, flows: impl IntoIterator<Item = Flow>) {
        self.script.lock().unwrap().results.push_back(Ok(flows.into_iter().collect()));
    }

    fn removed(&self) -> Vec<Flow> {
        std::mem::take(&mut self.script.lock().unwrap().removed).concat()
    }

    /// Holds the next search until the sender is dropped.
    fn hold(&self) -> Sender<()> {
        let (sender, gate) = channel();
        self.script.lock().unwrap().gate = Some(gate);
        sender
    }
}

/// A loop that has applied its first plans, with the lasting Service alone, and searched all flows.
async fn ready() -> (Rig, PerFamily<Scripted>) {
    let start = Instant::now();
    let cleaners = PerFamily::from_fn(|_| Scripted { start, script: Arc::default() });
    let mut rig = Rig::with(&settings(), |sync_loop| {
        cleaners.iter().fold(sync_loop, |sync_loop, (family, cleaner)| {
            sync_loop.with_flow_cleaner(family, Box::new(cleaner.clone()))
        })
    });
    let lasting = service("ns/lasting", "10.96.2.1,fd00::2:1").port("", Protocol::Udp, LASTING);
    let [_, slices, nodes] = empty_lists();
    let cidrs = service_cidr("all", &["10.96.0.0/16", "fd00::/112"]);
    rig.send([cidrs, Event::Service(Change::Replaced(vec![lasting.build()])), slices, nodes]).await;
    let mut recorded = Vec::new();
    until(|| {
        recorded.extend(rig.notes.take());
        recorded.iter().filter(|note| note.starts_with("flows ")).count() == 2
    })
    .await;
    for (family, cleaner) in cleaners.iter() {
        rig.calls(family);
        assert_eq!(cleaner.searches(), [everything(0, &[])], "{family}");
    }
    (rig, cleaners)
}

/// A UDP Service `ns/<name>` on this port, with one pod.
fn udp(name: &str, port: u16, pod: u8) -> [Event; 2] {
    udp_at(name, &format!("10.96.1.{pod}"), port, &format!("10.244.0.{pod}"))
}

fn udp_at(name: &str, vip: &str, port: u16, pod: &str) -> [Event; 2] {
    let vip = service(&format!("ns/{name}"), vip).port("", Protocol::Udp, port).applied();
    [vip, slice(&format!("ns/{name}-{pod}"), name).port("", Protocol::Udp, 8053).anywhere(pod).applied()]
}

/// A search for flows to changed Services on these ports.
fn only_ports(at: u128, ports: &[u16]) -> Search {
    Search { at, ports: ports.to_vec() }
}

/// A search for all flows, when there are Services on these ports besides the lasting one.
fn everything(at: u128, others: &[u16]) -> Search {
    Search { at, ports: [&[LASTING], others].concat() }
}

/// Lets the loop and threads beside it run, but no time of theirs pass, until something holds.
async fn until(mut holds: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !holds() {
        assert!(began.elapsed() < secs(30), "waited in vain");
        tokio::task::yield_now().await;
        std::thread::sleep(Duration::from_micros(50));
    }
}

#[tokio::test(start_paused = true)]
async fn flows_to_changed_udp_ports_are_checked_after_the_sync() {
    let (mut rig, cleaners) = ready().await;
    cleaners.v4.script([Ok(3)]);
    rig.script(V4, [Outcome::GOOD.taking(millis(30))]);
    rig.send(udp("dns", 53, 7)).await;
    rig.pass(secs(1)).await;
    assert_eq!(cleaners.v4.searches(), [only_ports(30, &[53])]);
    assert_eq!(cleaners.v6.searches(), []);
    let notes = rig.notes.take();
    assert_eq!(notes[notes.len() - 3..], ["synced IPv4", "all synced", "flows IPv4 Ok(3)"], "{notes:?}");
}

#[tokio::test(start_paused = true)]
async fn changes_without_stale_flows_start_no_search() {
    let (mut rig, cleaners) = ready().await;
    rig.send([v4("web", 1), v6("web6", 1)]).await;
    rig.pass(secs(60)).await;
    assert_eq!((rig.times(V4).len(), rig.times(V6).len()), (1, 1));
    assert_eq!((cleaners.v4.searches(), cleaners.v6.searches()), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn failed_sync_starts_no_search_until_it_succeeds() {
    let (mut rig, cleaners) = ready().await;
    rig.script(V4, [Outcome::bad(Retry::SameChanges); 3]);
    rig.send(udp("dns", 53, 7)).await;
    rig.pass(secs(60)).await;
    assert_eq!(rig.times(V4), [0, 100, 300, 700]);
    assert_eq!(cleaners.v4.searches(), [only_ports(700, &[53])]);
}

#[tokio::test(start_paused = true)]
async fn every_full_sync_ends_with_a_search_for_all_flows() {
    let (mut rig, cleaners) = ready().await;
    rig.pass(secs(3_700)).await;
    assert_eq!(cleaners.v4.searches(), [everything(3_600_000, &[])]);
    assert_eq!(cleaners.v6.searches(), [everything(3_600_000, &[])]);
    rig.script(V4, [Outcome::bad(Retry::CompareAll)]);
    let now = rig.now();
    rig.send([v4("web", 1)]).await;
    rig.pass(secs(10)).await;
    assert_eq!(cleaners.v4.searches(), [everything(now + 100, &[])]);
}

#[tokio::test(start_paused = true)]
async fn failed_search_is_repeated_with_back_off() {
    let (mut rig, cleaners) = ready().await;
    cleaners.v4.script([Err("list flows"); 10]);
    rig.send(udp("dns", 53, 7)).await;
    rig.pass(secs(600)).await;
    let searches = cleaners.v4.searches();
    assert!(searches.iter().all(|search| search.ports == [53]), "{searches:?}");
    let waits: Vec<_> = searches.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000]);
    assert_eq!(rig.times(V4), [0], "the rules were written once");
    assert_eq!(rig.notes.take().last().map(String::as_str), Some("flows IPv4 Ok(0)"));
    cleaners.v4.script([Err("list flows")]);
    rig.send(udp("dns", 54, 7)).await;
    rig.pass(secs(1)).await;
    assert_eq!(cleaners.v4.searches(), [only_ports(600_000, &[53, 54]), only_ports(600_100, &[53, 54])]);
}

#[tokio::test(start_paused = true)]
async fn changes_do_not_hasten_the_retry_of_a_failed_search() {
    let (mut rig, cleaners) = ready().await;
    cleaners.v4.script([Err("list flows"); 6]);
    rig.send(udp("dns", 53, 7)).await;
    rig.pass(millis(3_500)).await;
    cleaners.v4.searches();
    for pod in 10..20 {
        rig.send(udp("dns", 53, pod)).await;
        rig.pass(millis(100)).await;
    }
    assert_eq!(cleaners.v4.searches(), [], "the seventh search is due at 6.3 s");
    rig.pass(secs(5)).await;
    // The address that the Service has, and the ten that it had before.
    assert_eq!(cleaners.v4.searches(), [only_ports(6_300, &[53; 11])]);
}

#[tokio::test(start_paused = true)]
async fn failed_search_is_not_repeated_while_syncs_fail() {
    let (mut rig, cleaners) = ready().await;
    cleaners.v4.script([Err("list flows")]);
    rig.send(udp("dns", 53, 7)).await;
    rig.pass(millis(50)).await;
    cleaners.v4.searches();
    rig.script(V4, [Outcome::bad(Retry::SameChanges); 4]);
    rig.send([v4("web", 1)]).await;
    rig.pass(secs(60)).await;
    assert_eq!(rig.times(V4), [0, 50, 150, 350, 750, 1_550]);
    assert_eq!(cleaners.v4.searches(), [only_ports(1_550, &[53])]);
}

#[tokio::test(start_paused = true)]
async fn failed_search_is_repeated_after_its_service_is_deleted() {
    let (mut rig, cleaners) = ready().await;
    rig.send(udp("dns", 53, 7).into_iter().chain(udp("ntp", 123, 8))).await;
    rig.pass(secs(1)).await;
    cleaners.v4.searches();
    cleaners.v4.script([Err("list flows"); 2]);
    rig.send([gone("dns")]).await;
    rig.pass(millis(20)).await;
    rig.send([gone("ntp")]).await;
    rig.pass(secs(60)).await;
    assert_eq!(
        cleaners.v4.searches(),
        [only_ports(1_000, &[53]), only_ports(1_100, &[53, 123]), only_ports(1_300, &[53, 123])]
    );
}

#[tokio::test(start_paused = true)]
async fn pending_search_survives_a_full_sync() {
    let (mut rig, cleaners) = ready().await;
    rig.send(udp("dns", 53, 7)).await;
    rig.pass(secs(1)).await;
    cleaners.v4.searches();
    rig.script(V4, [Outcome::bad(Retry::CompareAll)]);
    rig.send([gone("dns")]).await;
    rig.pass(secs(10)).await;
    assert_eq!(cleaners.v4.searches(), [everything(1_100, &[53])], "the rules were refused");

    rig.send(udp("dns", 53, 7)).await;
    rig.pass(secs(1)).await;
    cleaners.v4.searches();
    rig.script(V4, [Outcome::bad(Retry::SameChanges).taking(secs(3_600))]);
    rig.send([gone("dns")]).await;
    rig.pass(secs(3_700)).await;
    let searches = cleaners.v4.searches();
    assert_eq!(searches.len(), 1, "{searches:?}");
    assert_eq!(searches[0].ports, [LASTING, 53], "the hourly comparison went in between");
}

/// A complete comparison asks for what is served. This address is not any more, nor in any change set.
#[tokio::test(start_paused = true)]
async fn service_deleted_after_a_failed_sync_is_searched_for() {
    let (mut rig, cleaners) = ready().await;
    rig.send(udp("dns", 53, 7)).await;
    rig.pass(secs(1)).await;
    cleaners.v4.searches();
    rig.script(V4, [Outcome::bad(Retry::CompareAll)]);
    rig.send([v4("web", 1)]).await;
    rig.pass(millis(50)).await;
    rig.send([gone("dns")]).await;
    rig.pass(secs(10)).await;
    assert_eq!(cleaners.v4.searches(), [everything(1_100, &[53])]);
}

/// Begins a search that does not end before its sender is dropped.
async fn searching(rig: &mut Rig, cleaner: &Scripted) -> Sender<()> {
    let gate = cleaner.hold();
    rig.send(udp("dns", 53, 7)).await;
    until(|| cleaner.searches().len() == 1).await;
    assert_eq!(rig.calls(V4).len(), 1);
    gate
}

#[tokio::test(start_paused = true)]
async fn applies_do_not_wait_for_a_search() {
    let (mut rig, cleaners) = ready().await;
    let gate = searching(&mut rig, &cleaners.v4).await;

    rig.send([v4("web", 1)]).await;
    until(|| rig.calls(V4).len() == 1).await;
    rig.send(udp("ntp", 123, 8)).await;
    until(|| rig.calls(V4).len() == 1).await;
    rig.send(udp("ntp", 123, 9)).await;
    until(|| rig.calls(V4).len() == 1).await;
    rig.send([gone("dns")]).await;
    until(|| rig.calls(V4).len() == 1).await;
    rig.send(udp_at("dns6", "fd00::9", 53, "fd01::9")).await;
    until(|| cleaners.v6.searches().len() == 1).await;
    assert_eq!((rig.now(), cleaners.v4.searches()), (0, vec![]));

    drop(gate);
    until(|| cleaners.v4.searches() == [only_ports(0, &[53, 123, 123])]).await;
}

#[tokio::test(start_paused = true)]
async fn the_retry_of_a_failed_apply_does_not_wait_for_a_search() {
    let (mut rig, cleaners) = ready().await;
    let gate = searching(&mut rig, &cleaners.v4).await;
    rig.script(V4, [Outcome::bad(Retry::CompareAll)]);
    rig.send([v4("web", 1)]).await;
    until(|| rig.calls(V4).len() == 1).await;
    tokio::time::advance(millis(100)).await;
    until(|| rig.calls(V4) == [Call { at: 100, changes: Changes::All(3) }]).await;
    drop(gate);
    until(|| cleaners.v4.searches() == [everything(100, &[53])]).await;
}

#[tokio::test(start_paused = true)]
async fn full_sync_does_not_wait_for_a_search() {
    let (mut rig, cleaners) = ready().await;
    let gate = searching(&mut rig, &cleaners.v4).await;
    tokio::time::advance(secs(3_601)).await;
    until(|| rig.calls(V4) == [Call { at: 3_601_000, changes: Changes::All(2) }]).await;
    drop(gate);
    until(|| cleaners.v4.searches() == [everything(3_601_000, &[53])]).await;
}

/// Before the gate opens a pod returns, another takes the place of a third, and a Service goes.
#[tokio::test(start_paused = true)]
async fn flow_is_compared_with_the_plan_at_the_time_of_its_removal() {
    let (mut rig, cleaners) = ready().await;
    let [back, other, gone_for_good] = [
        ("10.96.1.7:53", "10.244.0.7:8053"),
        ("10.96.1.7:53", "10.244.0.8:8053"),
        ("10.96.1.9:5", "10.244.0.9:8053"),
    ]
    .map(|(vip, pod)| flow(vip, pod));
    cleaners.v4.find([back, other, gone_for_good]);
    let gate = cleaners.v4.hold();
    // The Service is created without a pod.
    let [vip, pod] = udp("dns", 53, 7);
    rig.send([vip].into_iter().chain(udp("ntp", 5, 9))).await;
    until(|| rig.calls(V4).iter().any(|call| call.changes == only(&["dns", "ntp"]))).await;
    until(|| cleaners.v4.searches().len() == 1).await;
    rig.send([pod, gone("ntp")]).await;
    until(|| rig.calls(V4).iter().any(|call| call.changes == only(&["dns", "ntp"]))).await;
    assert_eq!(cleaners.v4.removed(), []);
    drop(gate);
    until(|| cleaners.v4.searches().len() == 1).await;
    assert_eq!(cleaners.v4.removed(), [other, gone_for_good]);
}

/// What wants a flow again waits for its retry, and may be taken back before that.
#[tokio::test(start_paused = true)]
async fn nothing_is_removed_while_a_plan_is_not_programmed() {
    for is_taken_back in [true, false] {
        let (mut rig, cleaners) = ready().await;
        let [vip, pod] = udp("dns", 53, 7);
        let [wanted, stale] = [("10.96.1.7:53", "10.244.0.7:8053"), ("10.96.1.7:53", "10.244.0.9:8053")]
            .map(|(vip, pod)| flow(vip, pod));
        cleaners.v4.find([wanted, stale]);
        let gate = cleaners.v4.hold();
        rig.send(udp_at("dns", "10.96.1.7", 53, "10.244.0.8")).await;
        until(|| cleaners.v4.searches().len() == 1).await;
        rig.calls(V4);
        rig.script(V4, [Outcome::bad(Retry::SameChanges)]);
        rig.send([vip, pod]).await;
        until(|| rig.calls(V4).len() == 1).await;
        drop(gate);
        rig.pass(millis(50)).await;
        assert_eq!(cleaners.v4.removed(), []);
        if is_taken_back {
            let slice = portolan_testkit::objects::object_name("ns/dns-10.244.0.7");
            rig.send([Event::EndpointSlice(Change::Deleted(slice))]).await;
        }
        rig.pass(secs(1)).await;
        assert_eq!(rig.times(V4), [100]);
        assert_eq!(cleaners.v4.removed(), if is_taken_back { vec![wanted, stale] } else { vec![stale] });
    }
}

/// Flows are removed on the thread that applies, so it must not be all of them at once.
#[tokio::test(start_paused = true)]
async fn many_flows_are_removed_in_parts_with_changes_applied_between() {
    let (mut rig, cleaners) = ready().await;
    cleaners.v4.find(flows(1_000));
    rig.send(udp("dns", 53, 7)).await;
    rig.pass(secs(1)).await;
    let parts: Vec<_> = std::mem::take(&mut cleaners.v4.script.lock().unwrap().removed);
    assert_eq!(parts.concat().len(), 1_000);
    assert!(parts.iter().all(|part| part.len() <= 128));
    assert_eq!(rig.notes.take().last().map(String::as_str), Some("flows IPv4 Ok(1000)"));
}

#[tokio::test(start_paused = true)]
async fn failed_removal_causes_another_search() {
    let (mut rig, cleaners) = ready().await;
    cleaners.v4.find(flows(300));
    cleaners.v4.find(flows(172));
    cleaners.v4.script.lock().unwrap().removals.extend([Ok(()), Err("remove flows")]);
    rig.send(udp("dns", 53, 7)).await;
    rig.pass(secs(1)).await;
    assert_eq!(cleaners.v4.searches(), [only_ports(0, &[53]), only_ports(100, &[53])]);
    assert_eq!(cleaners.v4.removed().len(), 300);
    let notes = rig.notes.take();
    let recorded: Vec<_> = notes.iter().filter(|note| note.starts_with("flows")).collect();
    assert_eq!(recorded.len(), 2, "{notes:?}");
    assert_eq!(recorded[1], "flows IPv4 Ok(172)");
}

/// Flows to addresses that are none of our Services' may be another proxy's.
#[tokio::test(start_paused = true)]
async fn more_addresses_for_services_start_no_search() {
    let (mut rig, cleaners) = ready().await;
    rig.send([service_cidr("more", &["10.97.0.0/16", "fd00:97::/112"])]).await;
    rig.pass(secs(60)).await;
    assert_eq!((rig.times(V4).len(), rig.times(V6).len()), (1, 1));
    assert_eq!((cleaners.v4.searches(), cleaners.v6.searches()), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn stopping_does_not_wait_for_a_search() {
    let (mut rig, cleaners) = ready().await;
    let gate = cleaners.v4.hold();
    rig.send(udp("dns", 53, 7)).await;
    until(|| cleaners.v4.searches().len() == 1).await;
    rig.stop();
    assert_eq!((&mut rig.task).await.unwrap(), Stopped::Requested);
    drop(gate);
}

#[tokio::test(start_paused = true)]
async fn failed_removal_of_flows_is_logged_once_and_so_is_the_recovery() {
    let (mut rig, cleaners) = ready().await;
    let (lines, _guard) = Lines::collect(Level::INFO);
    cleaners.v4.script([Err("list flows"), Err("list flows"), Err("remove a flow"), Ok(4)]);
    rig.send(udp("dns", 53, 7)).await;
    rig.pass(secs(60)).await;
    let lines: Vec<_> = lines.take().into_iter().filter(|line| !line.contains("Synced rules")).collect();
    assert_eq!(
        lines,
        [
            "WARN Failed to remove stale UDP flows; clients may keep sending to removed endpoints ipFamily=IPv4 \
             err=\"could not list flows: not permitted\" retryAfter=100ms",
            "WARN Failed to remove stale UDP flows; clients may keep sending to removed endpoints ipFamily=IPv4 \
             err=\"could not remove a flow: not permitted\" retryAfter=400ms",
            "INFO Removed stale UDP flows again after failures ipFamily=IPv4 failures=3 duration=700ms",
            "INFO Removed stale UDP flows ipFamily=IPv4 removed=4 duration=0ns",
        ]
    );
}
