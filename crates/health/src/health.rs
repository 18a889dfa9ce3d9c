//! One [`HealthState`], shared between who reports and who asks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portolan_core::IpFamily;

use crate::clock::{Clock, Moment};
use crate::report::{Probe, Report};
use crate::state::{HealthState, NodeEligibility};

/// A handle on the process's health; clones share it.
#[derive(Clone)]
pub struct Health {
    state: Arc<Mutex<HealthState>>,
    clock: Arc<dyn Clock>,
}

impl Health {
    /// Shares `state`, telling time by `clock`.
    pub fn new(state: HealthState, clock: impl Clock + 'static) -> Self {
        Self { state: Arc::new(Mutex::new(state)), clock: Arc::new(clock) }
    }

    /// See [`HealthState::started`].
    pub fn started(&self, family: IpFamily) {
        let (mut state, now) = self.lock();
        state.started(family, now);
    }

    /// See [`HealthState::queued`].
    pub fn queued(&self, family: IpFamily) {
        let (mut state, now) = self.lock();
        state.queued(family, now);
    }

    /// See [`HealthState::updated`].
    pub fn updated(&self, family: IpFamily) {
        let (mut state, now) = self.lock();
        state.updated(family, now);
    }

    /// See [`HealthState::failed`].
    pub fn failed(&self, family: IpFamily) {
        let (mut state, now) = self.lock();
        state.failed(family, now);
    }

    /// See [`HealthState::removed`].
    pub fn removed(&self, family: IpFamily) {
        let (mut state, now) = self.lock();
        state.removed(family, now);
    }

    /// See [`HealthState::set_node`].
    pub fn set_node(&self, node: NodeEligibility) {
        self.lock().0.set_node(node);
    }

    /// See [`HealthState::set_incomplete`].
    pub fn set_incomplete(&self, reason: Option<String>) {
        self.lock().0.set_incomplete(reason);
    }

    /// See [`HealthState::set_sync_period`].
    pub fn set_sync_period(&self, sync_period: Duration) {
        self.lock().0.set_sync_period(sync_period);
    }

    /// See [`HealthState::is_healthy`].
    pub fn is_healthy(&self) -> bool {
        let (state, now) = self.lock();
        state.is_healthy(now)
    }

    /// See [`HealthState::is_programmed`].
    pub fn is_programmed(&self, family: IpFamily) -> bool {
        self.lock().0.is_programmed(family)
    }

    /// See [`HealthState::lag`].
    pub fn lag(&self, family: IpFamily) -> Duration {
        let (state, now) = self.lock();
        state.lag(family, now)
    }

    /// See [`HealthState::report`].
    pub fn report(&self, probe: Probe) -> Report {
        let (state, now) = self.lock();
        state.report(probe, now)
    }

    /// The state, and the time as of holding it. Every method leaves the state whole,
    /// so one that panicked elsewhere has broken nothing.
    fn lock(&self) -> (MutexGuard<'_, HealthState>, Moment) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state, self.clock.now())
    }
}
