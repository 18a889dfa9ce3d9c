//! Kubernetes Events about this node and the Services on it.
//!
//! A caller of [`EventRecorder::record`] does not wait; the report stays in a cache of bounded size until the API server
//! has taken it.
//!
//! ```text
//! record ─▶ cache (counts equal ones) ─▶ delivery ─▶ POST, later PATCH of the count
//! ```
//!
//! Invariants: a report costs its caller no more than a short lock, and later failures do not reach the caller. Of equal
//! reports the server gets one Event and, every five minutes at most, the count since. Events wait for a server that is
//! unavailable; one that the server rejects is not sent again soon.

use std::sync::Arc;
use std::time::Duration;

use portolan_core::name::ObjectName;

mod cache;
mod delivery;
mod event;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use delivery::Delivery;

/// The type of an Event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReportKind {
    /// Information.
    Normal,
    /// A problem.
    Warning,
}

/// The object that a report is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Regarding {
    /// This node.
    Node,
    /// A Service.
    Service(ObjectName),
}

/// The content of an Event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Report {
    /// The type.
    pub kind: ReportKind,
    /// The cause, one word in CamelCase; at most 128 bytes.
    pub reason: &'static str,
    /// The action that was taken or failed, in the same form; at most 128 bytes.
    pub action: &'static str,
    /// The object.
    pub regarding: Regarding,
    /// The message. Bytes past the 1024th are cut off, as servers take no more.
    pub note: String,
}

/// Takes reports; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct EventRecorder(Option<Arc<Delivery>>);

impl EventRecorder {
    /// A recorder that discards reports, for sources without an API server.
    pub fn disabled() -> Self {
        Self(None)
    }

    pub(crate) fn new(delivery: Arc<Delivery>) -> Self {
        Self(Some(delivery))
    }

    /// Takes a report. Does not wait for the server and does not fail.
    ///
    /// A report that equals one of the last few minutes is counted with it. When too
    /// many wait, the oldest is dropped, which [`crate::Count::EventsDropped`] counts.
    pub fn record(&self, report: Report) {
        if let Some(delivery) = &self.0 {
            delivery.add(report);
        }
    }

    /// Sends what waits, counts of repeated reports too. Returns when the server has taken or rejected everything, or
    /// after `time_limit`. Works whether or not the source runs.
    pub async fn flush(&self, time_limit: Duration) {
        if let Some(delivery) = &self.0 {
            delivery.flush(time_limit).await;
        }
    }
}
