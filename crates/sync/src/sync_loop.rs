//! The loop: handles events and runs what is due.

use std::collections::HashMap;
use std::future::poll_fn;
use std::task::Poll;

use portolan_core::event::Event;
use portolan_core::vip_owners::{Conflict, ServiceAddress};
use portolan_core::{FlowCleaner, IpFamily, ProxyBackend, State};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::family::FamilySync;
use crate::flows::{FlowCleaning, Searched};
use crate::observer::SyncObserver;
use crate::settings::{Configuration, NodeWait, SyncSettings};

/// Most events handled before the loop runs what is due, so that a flood of events cannot delay every apply. Large
/// enough to merge a burst into few applies.
const BATCH: usize = 4096;

/// Owns the state and the backends, and programs plans.
pub struct SyncLoop {
    state: State,
    families: Vec<FamilySync>,
    observer: Box<dyn SyncObserver>,
    settings: SyncSettings,
    random: fn() -> f64,
    /// What the Node object must still get before the first apply.
    node_wait: Option<NodeWait>,
    /// When that wait times out; known once all initial lists have arrived.
    node_deadline: Option<Instant>,
    configurations: Option<watch::Receiver<Configuration>>,
}

/// Why the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// It was asked to.
    Requested,
    /// The sender of events was dropped.
    SourceEnded,
    /// Local pods can only be detected by `spec.podCIDRs` of the Node object, which has none.
    NoPodCidrs,
}

impl SyncLoop {
    /// Programs the plans of `state` through `backends`.
    pub fn new(
        state: State,
        backends: Vec<(IpFamily, Box<dyn ProxyBackend>)>,
        settings: &SyncSettings,
        observer: Box<dyn SyncObserver>,
    ) -> Self {
        Self::with_random(state, backends, settings, observer, fastrand::f64)
    }

    /// The same; `random` returns a number from 0 to 1, for the jitter of retries.
    pub(crate) fn with_random(
        state: State,
        backends: Vec<(IpFamily, Box<dyn ProxyBackend>)>,
        settings: &SyncSettings,
        observer: Box<dyn SyncObserver>,
        random: fn() -> f64,
    ) -> Self {
        let families = backends
            .into_iter()
            .map(|(family, backend)| FamilySync::new(family, backend, settings, random))
            .collect();
        Self {
            state,
            families,
            observer,
            settings: *settings,
            random,
            node_wait: settings.node_wait,
            node_deadline: None,
            configurations: None,
        }
    }

    /// Also applies new values of `configurations`; its current value counts as known.
    #[must_use]
    pub fn with_configurations(mut self, mut configurations: watch::Receiver<Configuration>) -> Self {
        configurations.mark_unchanged();
        self.configurations = Some(configurations);
        self
    }

    /// Also has `cleaner` remove the flows of `family` that a new plan makes stale.
    ///
    /// It searches on another thread after the plan is programmed, and removes on the loop's thread; never both at
    /// once. Each family has its own cleaner, so that they do not wait for each other.
    #[must_use]
    pub fn with_flow_cleaner(mut self, family: IpFamily, cleaner: Box<dyn FlowCleaner>) -> Self {
        if let Some(sync) = self.families.iter_mut().find(|sync| sync.family == family) {
            sync.flows = Some(FlowCleaning::new(family, cleaner, &self.settings, self.random));
        }
        self
    }

    /// Runs until `stop` is cancelled or the sender of events is dropped. A running apply is finished first and no
    /// other starts; a running search for stale flows is abandoned.
    pub async fn run(mut self, mut events: mpsc::Receiver<Event>, stop: CancellationToken) -> Stopped {
        for family in &self.families {
            self.observer.started(family.family);
        }
        let mut batch = Vec::new();
        loop {
            let next = self.next();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Stopped::Requested,
                (family, report) = reported(&mut self.families) => match report {
                    Report::Searched(searched) => family.searched(searched, &mut *self.observer),
                    Report::ForeignChange => family.foreign_change(),
                },
                configuration = next_configuration(&mut self.configurations) => {
                    self.reconfigure(configuration);
                }
                count = events.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return Stopped::SourceEnded;
                    }
                    self.handle(batch.drain(..));
                }
                () = sleep_or_wait(next) => {}
            }
            if let Some(stopped) = self.check_node() {
                return stopped;
            }
            self.run_due(&stop).await;
        }
    }

    /// When something is due, if nothing arrives.
    fn next(&self) -> Option<Instant> {
        if !self.can_sync() {
            return self.node_deadline;
        }
        self.families.iter().filter_map(|family| family.next(&self.state)).min()
    }

    fn handle(&mut self, events: impl Iterator<Item = Event>) {
        for event in events {
            self.observer.received(&event);
            let is_about_node = matches!(event, Event::Node(_));
            self.state.handle(event);
            if let Some(node) = self.state.node().filter(|_| is_about_node) {
                self.observer.node(node);
            }
        }
        // Two Services may share tens of thousands of addresses, which gives one message.
        let mut conflicts: HashMap<_, (ServiceAddress, usize)> = HashMap::new();
        for Conflict { address, owner, ignored } in self.state.take_conflicts() {
            conflicts.entry((owner, ignored)).or_insert((address, 0)).1 += 1;
        }
        for ((owner, ignored), (address, addresses)) in conflicts {
            warn!(
                %address,
                addresses,
                %owner,
                %ignored,
                "Services have the same address; only its owner is served"
            );
        }
        self.prepare();
    }

    /// Takes over a new configuration.
    fn reconfigure(&mut self, configuration: Configuration) {
        for family in &mut self.families {
            family.reconfigure(&configuration);
        }
        self.state.reconfigure(configuration.node);
        self.prepare();
    }

    fn can_sync(&self) -> bool {
        self.state.is_ready() && self.node_wait.is_none()
    }

    /// Ends the wait for the Node object if it has what is needed or the wait has timed out. Returns why the loop must
    /// end, if so.
    fn check_node(&mut self) -> Option<Stopped> {
        let wait = self.node_wait.filter(|_| self.state.is_ready())?;
        let now = Instant::now();
        let deadline = *self.node_deadline.get_or_insert(now + wait.timeout());
        if !self.state.node().is_some_and(|node| wait.is_met_by(node)) {
            if now < deadline {
                return None;
            }
            let missing = match (wait, self.state.node()) {
                (NodeWait::PodCidrs, _) => return Some(Stopped::NoPodCidrs),
                (NodeWait::Address, None) => "Node object",
                (NodeWait::Address, Some(_)) => "addresses in the Node object",
            };
            error!(missing, "Timed out waiting for this node's Node object; starting without its addresses");
        }
        self.node_wait = None;
        self.prepare();
        None
    }

    /// Brings plans up to date with the state, and informs the families.
    fn prepare(&mut self) {
        if !self.can_sync() {
            return;
        }
        self.state.prepare();
        for family in &mut self.families {
            family.changed(&mut self.state, &mut *self.observer);
        }
        self.report_all_synced();
    }

    /// Runs what is due, one family after the other.
    async fn run_due(&mut self, stop: &CancellationToken) {
        if !self.can_sync() {
            return;
        }
        let mut synced = false;
        for family in &mut self.families {
            if !stop.is_cancelled() {
                synced |= family.run_due(&mut self.state, &mut *self.observer).await;
            }
        }
        if synced {
            self.report_all_synced();
        }
    }

    fn report_all_synced(&mut self) {
        if self.families.iter().all(|family| family.is_synced(&self.state)) {
            self.observer.all_synced();
        }
    }
}

/// Waits for a new configuration; forever if its sender was dropped.
async fn next_configuration(configurations: &mut Option<watch::Receiver<Configuration>>) -> Configuration {
    if let Some(receiver) = configurations
        && receiver.changed().await.is_ok()
    {
        return receiver.borrow_and_update().clone();
    }
    *configurations = None;
    std::future::pending().await
}

async fn sleep_or_wait(until: Option<Instant>) {
    match until {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// What happens in a family outside of syncs.
enum Report {
    /// A search for stale flows has ended.
    Searched(Searched),
    /// Another process may have changed the rules.
    ForeignChange,
}

/// Waits for the next report of a family.
async fn reported(families: &mut [FamilySync]) -> (&mut FamilySync, Report) {
    let (index, report) = poll_fn(|context| {
        for (index, family) in families.iter_mut().enumerate() {
            if let Some(Poll::Ready(searched)) =
                family.flows.as_mut().map(|flows| flows.poll_searched(context))
            {
                return Poll::Ready((index, Report::Searched(searched)));
            }
            if family.poll_foreign_change(context).is_ready() {
                return Poll::Ready((index, Report::ForeignChange));
            }
        }
        Poll::Pending
    })
    .await;
    (&mut families[index], report)
}
