//! A running loop with scripted backends, and what became of it.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use portolan_core::backend::{Retry, Scope};
use portolan_core::event::{Change, Event, Service};
use portolan_core::{
    ApplyReport, BackendError, ChangeSet, IpFamily, NodeConfig, NodePlan, PerFamily, Protocol, ProxyBackend,
    ProxyMode, State,
};
use portolan_testkit::objects::{empty_lists, service};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::recorder::Recorder;
use crate::{Configuration, Stopped, SyncLoop, SyncSettings};

/// How the next apply goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    pub(super) takes: Duration,
    /// When to call again, if at all, or what helps.
    pub(super) result: Result<Option<Duration>, Retry>,
}

impl Outcome {
    pub(super) const GOOD: Self = Self { takes: Duration::ZERO, result: Ok(None) };

    pub(super) fn bad(retry: Retry) -> Self {
        Self { result: Err(retry), ..Self::GOOD }
    }

    pub(super) fn taking(self, takes: Duration) -> Self {
        Self { takes, ..self }
    }

    pub(super) fn follow_up(after: Duration) -> Self {
        Self { result: Ok(Some(after)), ..Self::GOOD }
    }
}

fn report(follow_up: Option<Duration>) -> ApplyReport {
    ApplyReport {
        scope: Scope::Partial,
        operations: 1,
        transactions: 1,
        messages: 1,
        bytes: 100,
        follow_up,
        ..ApplyReport::default()
    }
}

/// One apply as a backend met it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// Milliseconds since the rig was set up.
    pub(super) at: u128,
    pub(super) changes: Changes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Changes {
    /// Compare everything; this many service ports are in the plan.
    All(usize),
    /// The names of the Services that differ, sorted.
    Only(Vec<String>),
}

pub(super) fn only(names: &[&str]) -> Changes {
    Changes::Only(names.iter().map(|name| (*name).to_owned()).collect())
}

#[derive(Debug, Default)]
struct Script {
    /// The results of the next applies; after the last one every apply succeeds, or has the result `forever`.
    outcomes: VecDeque<Outcome>,
    forever: Option<Outcome>,
    calls: Vec<Call>,
    /// The results of the next integrity checks; after the last one the rules are intact.
    integrity: VecDeque<Result<bool, Retry>>,
    /// When the integrity checks were, in milliseconds since the rig was set up.
    checked_at: Vec<u128>,
}

struct Scripted {
    start: Instant,
    script: Arc<Mutex<Script>>,
    /// The kernel's notifications of changes by other processes.
    notices: mpsc::UnboundedReceiver<()>,
}

#[async_trait]
impl ProxyBackend for Scripted {
    fn mode(&self) -> ProxyMode {
        ProxyMode::new("scripted")
    }

    async fn apply(&mut self, plan: &NodePlan, changes: &ChangeSet) -> Result<ApplyReport, BackendError> {
        let outcome = {
            let mut script = self.script.lock().unwrap();
            let at = self.start.elapsed().as_millis();
            script.calls.push(Call { at, changes: describe(plan, changes) });
            let forever = script.forever.unwrap_or(Outcome::GOOD);
            script.outcomes.pop_front().unwrap_or(forever)
        };
        sleep(outcome.takes).await;
        outcome.result.map(report).map_err(error)
    }

    async fn is_intact(&mut self) -> Result<bool, BackendError> {
        let mut script = self.script.lock().unwrap();
        script.checked_at.push(self.start.elapsed().as_millis());
        script.integrity.pop_front().unwrap_or(Ok(true)).map_err(error)
    }

    fn poll_foreign_change(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // A closed channel is the end of notifications.
        match self.notices.poll_recv(context) {
            Poll::Ready(Some(())) => Poll::Ready(()),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    async fn cleanup(&mut self) -> Result<(), BackendError> {
        Ok(())
    }
}

fn describe(plan: &NodePlan, changes: &ChangeSet) -> Changes {
    if changes.is_complete() {
        return Changes::All(plan.service_ports.len());
    }
    let mut names: Vec<_> = changes.service_ports().map(|(name, _)| name.service.name.to_string()).collect();
    names.sort_unstable();
    Changes::Only(names)
}

/// An error that asks for this kind of retry.
pub(crate) fn error(retry: Retry) -> BackendError {
    let source = || io::Error::other("no buffer space");
    match retry {
        Retry::Never => BackendError::unsupported(&ProxyMode::new("scripted"), "a kernel"),
        Retry::SameChanges => BackendError::busy("table ip portolan", source()),
        Retry::Unchanged => BackendError::unread("table ip portolan", source()),
        Retry::CompareAll => BackendError::refused("add map services", source()),
    }
}

/// A loop in its own task.
pub(super) struct Rig {
    start: Instant,
    pub(super) events: Option<mpsc::Sender<Event>>,
    pub(super) stop: Option<DropGuard>,
    pub(super) notes: Recorder,
    scripts: PerFamily<Arc<Mutex<Script>>>,
    notices: PerFamily<mpsc::UnboundedSender<()>>,
    pub(super) task: JoinHandle<Stopped>,
    pub(super) configuration: watch::Sender<Configuration>,
}

/// Both families, no minimum period, retries at 30 s at the latest.
pub(crate) fn settings() -> SyncSettings {
    SyncSettings::new(Duration::ZERO, Duration::from_secs(30), SystemTime::now() - Duration::from_secs(100))
}

impl Rig {
    /// A loop that has not got its lists yet.
    pub(super) fn new(settings: &SyncSettings) -> Self {
        Self::with(settings, |sync_loop| sync_loop)
    }

    /// The same, with something done to the loop before it runs.
    pub(super) fn with(settings: &SyncSettings, adapt: impl FnOnce(SyncLoop) -> SyncLoop) -> Self {
        let start = Instant::now();
        let scripts = PerFamily::from_fn(|_| Arc::<Mutex<Script>>::default());
        let mut backends = Vec::new();
        let notices = PerFamily::from_fn(|family| {
            let (sender, notices) = mpsc::unbounded_channel();
            let script = Arc::clone(&scripts[family]);
            let backend: Box<dyn ProxyBackend> = Box::new(Scripted { start, script, notices });
            backends.push((family, backend));
            sender
        });
        let (events, receiver) = mpsc::channel(1024);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let notes = Recorder::default();
        let node = NodeConfig::new("n1");
        let state = State::new(node.clone());
        let SyncSettings { min_period, sync_period, .. } = *settings;
        let (configuration, configurations) = watch::channel(Configuration { node, min_period, sync_period });
        let observer = Box::new(notes.clone());
        let sync_loop = SyncLoop::with_random(state, backends, settings, observer, || 0.5);
        let task = tokio::spawn(adapt(sync_loop.with_configurations(configurations)).run(receiver, stopped));
        let stop = Some(stop.drop_guard());
        Self { start, events: Some(events), stop, notes, scripts, notices, task, configuration }
    }

    /// A loop that has applied its empty first plans.
    pub(super) async fn ready(settings: &SyncSettings) -> Self {
        let mut rig = Self::new(settings);
        rig.send(empty_lists()).await;
        rig.pass(Duration::ZERO).await;
        for family in IpFamily::ALL {
            assert_eq!(rig.calls(family), [Call { at: 0, changes: Changes::All(0) }], "{family}");
        }
        rig.notes.take();
        rig
    }

    /// How the next applies of `family` go.
    pub(super) fn script(&self, family: IpFamily, outcomes: impl IntoIterator<Item = Outcome>) {
        self.scripts[family].lock().unwrap().outcomes.extend(outcomes);
    }

    /// How all applies of `family` go once the script has run out.
    pub(super) fn forever(&self, family: IpFamily, outcome: Outcome) {
        self.scripts[family].lock().unwrap().forever = Some(outcome);
    }

    pub(super) async fn send(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            self.events.as_ref().unwrap().send(event).await.unwrap();
        }
    }

    /// Lets time pass, and everything happen that is due by then.
    pub(super) async fn pass(&self, time: Duration) {
        // The loop may need a few turns to get to where it waits; the time of sleeps is
        // rounded up to milliseconds, so none of this is in the way of what it times.
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
        sleep(time).await;
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
    }

    /// The results of the next integrity checks of `family`.
    pub(super) fn integrity(&self, family: IpFamily, results: impl IntoIterator<Item = Result<bool, Retry>>) {
        self.scripts[family].lock().unwrap().integrity.extend(results);
    }

    /// The kernel reports a change by another process that may concern the rules of `family`.
    pub(super) fn change_by_others(&self, family: IpFamily) {
        self.notices[family].send(()).unwrap();
    }

    /// When the integrity checks of `family` since the last call were.
    pub(super) fn integrity_checks(&self, family: IpFamily) -> Vec<u128> {
        std::mem::take(&mut self.scripts[family].lock().unwrap().checked_at)
    }

    /// The applies of `family` since the last call.
    pub(super) fn calls(&self, family: IpFamily) -> Vec<Call> {
        std::mem::take(&mut self.scripts[family].lock().unwrap().calls)
    }

    /// When they were, in milliseconds since the rig was set up.
    pub(super) fn times(&self, family: IpFamily) -> Vec<u128> {
        self.calls(family).iter().map(|call| call.at).collect()
    }

    /// Milliseconds since the rig was set up.
    pub(super) fn now(&self) -> u128 {
        self.start.elapsed().as_millis()
    }

    pub(super) fn stop(&mut self) {
        self.stop = None;
    }
}

/// An IPv4 Service `ns/<name>` whose cluster IP ends in `last`.
pub(super) fn v4(name: &str, last: u8) -> Event {
    service(&format!("ns/{name}"), &format!("10.96.0.{last}")).port("", Protocol::Tcp, 80).applied()
}

/// An IPv6 one.
pub(super) fn v6(name: &str, last: u8) -> Event {
    service(&format!("ns/{name}"), &format!("fd00::{last}")).port("", Protocol::Tcp, 80).applied()
}

/// The end of Service `ns/<name>`.
pub(super) fn gone(name: &str) -> Event {
    Event::Service(Change::<Service>::Deleted(portolan_testkit::objects::object_name(&format!("ns/{name}"))))
}

pub(super) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
