//! The loop: takes in events, applies what is due.

use std::collections::HashMap;
use std::future::poll_fn;
use std::task::Poll;

use portolan_core::claims::{Contest, Frontend};
use portolan_core::event::Event;
use portolan_core::{FlowCleaner, IpFamily, ProxyBackend, State};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{error, warn};

use crate::family::FamilySync;
use crate::flows::{FlowCleaning, Searched};
use crate::node_wait::{Gate, NodeNeed, Passage};
use crate::observer::SyncObserver;
use crate::settings::{Configuration, SyncSettings};

/// Most events taken in before the next look at what is due, so that a flood of them
/// cannot put off every apply. Large enough to merge a burst into few applies.
const BATCH: usize = 4096;

/// Owns the state and the backends, and brings plans into force.
pub struct SyncLoop {
    state: State,
    families: Vec<FamilySync>,
    observer: Box<dyn SyncObserver>,
    settings: SyncSettings,
    chance: fn() -> f64,
    gate: Gate,
    configurations: Option<watch::Receiver<Configuration>>,
}

/// Why the loop came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// It was asked to.
    Asked,
    /// Nobody can send events any more.
    SourceEnded,
    /// Pods of this node can only be told by `spec.podCIDRs` of its Node object, and that has none.
    NoPodCidrs,
}

/// Asks a loop to stop.
#[derive(Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// The request, and what makes it: sending true, or dropping the sender.
    pub fn channel() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    fn is_asked(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    async fn asked(&mut self) {
        // An error means that the sender is gone, which asks for the same.
        let _ = self.0.wait_for(|asked| *asked).await;
    }
}

impl SyncLoop {
    /// Applies what follows from `state`, and events, through `backends`.
    pub fn new(
        state: State,
        backends: Vec<(IpFamily, Box<dyn ProxyBackend>)>,
        settings: &SyncSettings,
        observer: Box<dyn SyncObserver>,
    ) -> Self {
        Self::with_chance(state, backends, settings, observer, fastrand::f64)
    }

    /// The same with retries spread by `chance`, a number from 0 up to 1.
    pub(crate) fn with_chance(
        state: State,
        backends: Vec<(IpFamily, Box<dyn ProxyBackend>)>,
        settings: &SyncSettings,
        observer: Box<dyn SyncObserver>,
        chance: fn() -> f64,
    ) -> Self {
        let families = backends
            .into_iter()
            .map(|(family, backend)| FamilySync::new(family, backend, settings, chance))
            .collect();
        let gate = Gate::new(settings.node_wait);
        Self { state, families, observer, settings: *settings, chance, gate, configurations: None }
    }

    /// Also follows what `configurations` comes to hold; what it holds now counts as known.
    #[must_use]
    pub fn following(mut self, mut configurations: watch::Receiver<Configuration>) -> Self {
        configurations.mark_unchanged();
        self.configurations = Some(configurations);
        self
    }

    /// Also has `cleaner` remove the flows of `family` that a new plan makes stale.
    ///
    /// It searches on a thread beside the loop's, after the rules are in force, and removes on the
    /// loop's; never both at once. Each family has a cleaner of its own, so that none waits for another.
    #[must_use]
    pub fn with_flow_cleaner(mut self, family: IpFamily, cleaner: Box<dyn FlowCleaner>) -> Self {
        if let Some(sync) = self.families.iter_mut().find(|sync| sync.family == family) {
            sync.flows = Some(FlowCleaning::new(family, cleaner, &self.settings, self.chance));
        }
        self
    }

    /// Runs until asked to stop, or nobody can send events any more. An apply that has
    /// begun is finished; no other begins after that. A search for stale flows that is
    /// going on is left to itself.
    pub async fn run(mut self, mut events: mpsc::Receiver<Event>, mut stop: Stop) -> Stopped {
        for family in &self.families {
            self.observer.started(family.family);
        }
        let mut batch = Vec::new();
        loop {
            let next = self.next();
            tokio::select! {
                biased;
                () = stop.asked() => return Stopped::Asked,
                (family, report) = reported(&mut self.families) => match report {
                    Report::Searched(searched) => family.searched(searched, &mut *self.observer),
                    Report::ForeignChange => family.foreign_change(),
                },
                configuration = configured_anew(&mut self.configurations) => self.reconfigure(configuration),
                count = events.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return Stopped::SourceEnded;
                    }
                    self.take_in(batch.drain(..));
                }
                () = sleep_or_wait(next) => {}
            }
            if let Some(stopped) = self.look_at_node() {
                return stopped;
            }
            self.act(&stop).await;
        }
    }

    /// When there is something to do, if nothing comes in.
    fn next(&self) -> Option<Instant> {
        if !self.state.is_ready() {
            return None;
        }
        if !self.gate.is_open() {
            return self.gate.until();
        }
        self.families.iter().filter_map(|family| family.next(&self.state)).min()
    }

    fn take_in(&mut self, events: impl Iterator<Item = Event>) {
        for event in events {
            self.observer.received(&event);
            let is_about_node = matches!(event, Event::Node(_));
            self.state.handle(event);
            if let Some(node) = self.state.node().filter(|_| is_about_node) {
                self.observer.node(node);
            }
        }
        // Two Services may share tens of thousands of addresses, which is one thing to say.
        let mut conflicts: HashMap<_, (Frontend, usize)> = HashMap::new();
        for Contest { frontend, winner, loser } in self.state.take_contests() {
            conflicts.entry((winner, loser)).or_insert((frontend, 0)).1 += 1;
        }
        for ((winner, loser), (address, addresses)) in conflicts {
            warn!(%address, addresses, answers = %winner, ignored = %loser, "two Services claim one address");
        }
        self.follow();
    }

    /// Takes over a new configuration.
    fn reconfigure(&mut self, configuration: Configuration) {
        for family in &mut self.families {
            family.reconfigure(&configuration);
        }
        self.state.reconfigure(configuration.node);
        self.follow();
    }

    fn is_open(&self) -> bool {
        self.state.is_ready() && self.gate.is_open()
    }

    /// Starts as soon as the Node object is as needed, or patience is over. Returns why that is not to be.
    fn look_at_node(&mut self) -> Option<Stopped> {
        if !self.state.is_ready() {
            return None;
        }
        match self.gate.look(self.state.node(), Instant::now()) {
            Passage::Open | Passage::Closed => return None,
            Passage::Opens => {}
            Passage::GaveUp(NodeNeed::PodCidr) => return Some(Stopped::NoPodCidrs),
            Passage::GaveUp(NodeNeed::Address) => {
                let missing =
                    if self.state.node().is_none() { "to exist" } else { "to be assigned addresses" };
                error!(missing, "timed out waiting for this node's Node object; starting all the same");
            }
        }
        self.follow();
        None
    }

    /// Brings plans up to date with the state, and tells who has changes now.
    fn follow(&mut self) {
        if !self.is_open() {
            return;
        }
        self.state.prepare();
        for family in &mut self.families {
            family.changed(&mut self.state, &mut *self.observer);
        }
        self.report_settled();
    }

    /// Does what is due, one family after the other.
    async fn act(&mut self, stop: &Stop) {
        if !self.is_open() {
            return;
        }
        let mut applied = false;
        for family in &mut self.families {
            if !stop.is_asked() {
                applied |= family.act(&mut self.state, &mut *self.observer).await;
            }
        }
        if applied {
            self.report_settled();
        }
    }

    fn report_settled(&mut self) {
        if self.families.iter().all(|family| family.is_in_force(&self.state)) {
            self.observer.settled();
        }
    }
}

/// Waits for a new configuration; for ever if none can come.
async fn configured_anew(configurations: &mut Option<watch::Receiver<Configuration>>) -> Configuration {
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

/// What a family reports beside the loop.
enum Report {
    /// A search for stale flows has ended.
    Searched(Searched),
    /// Another process may have changed its rules.
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
