//! Kubernetes Events about this node and the Services on it.
//!
//! Anybody reports through an [`EventRecorder`] and goes on; what was reported waits in
//! a ledger of bounded size until the API server has taken it.
//!
//! ```text
//! record ─▶ ledger (folds equal ones) ─▶ delivery ─▶ POST, later PATCH of the count
//! ```
//!
//! Always holds: a report costs its caller no more than a short lock; nothing that
//! happens to it later reaches the caller; of equal reports the server gets one Event
//! and, every five minutes at most, how often it has happened since. A server that is
//! away is waited for, one that turns an Event down is not asked to take it again soon.

use std::sync::Arc;
use std::time::Duration;

use portolan_core::name::ObjectName;

mod delivery;
mod ledger;
#[cfg(test)]
pub(crate) mod tests;
mod wire;

pub(crate) use delivery::Delivery;

/// How much a report matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReportKind {
    /// For information.
    Normal,
    /// Somebody should look.
    Warning,
}

/// What a report is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Regarding {
    /// This node.
    Node,
    /// A Service.
    Service(ObjectName),
}

/// Something that happened, for people who look at Events.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Report {
    /// How much it matters.
    pub kind: ReportKind,
    /// Why it happened, one word in capitals and small letters; at most 128 bytes.
    pub reason: &'static str,
    /// What was being done, in the same form; at most 128 bytes.
    pub action: &'static str,
    /// What it is about.
    pub regarding: Regarding,
    /// The same for people. Bytes past the 1024th are cut off, as servers take no more.
    pub note: String,
}

/// Takes reports; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct EventRecorder(Option<Arc<Delivery>>);

impl EventRecorder {
    /// A recorder whose reports go nowhere, for sources without an API server.
    pub fn nowhere() -> Self {
        Self(None)
    }

    pub(crate) fn new(delivery: Arc<Delivery>) -> Self {
        Self(Some(delivery))
    }

    /// Takes a report in. Never waits for the server and never fails.
    ///
    /// A report that equals one of the last few minutes is counted with it. When too
    /// many wait, the oldest is given up, which [`crate::Count::EventsDropped`] counts.
    pub fn record(&self, report: Report) {
        if let Some(delivery) = &self.0 {
            delivery.take(report);
        }
    }

    /// Sends what waits, counts of repeated reports too; returns when the server has it
    /// or has turned it down, or after `patience`. Works whether or not the source runs.
    pub async fn flush(&self, patience: Duration) {
        if let Some(delivery) = &self.0 {
            delivery.flush(patience).await;
        }
    }
}
