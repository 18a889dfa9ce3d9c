//! Decides when to sync the rules with the plan: merges bursts of events, retries, measures and reports.
//!
//! One task, on its own thread ([`SyncThread`]), owns the [`State`] and one backend per IP family. It handles all
//! events that have arrived, asks each family's schedule whether a sync is due, and calls the backend. There are no
//! locks and there is no work queue: the work is always the difference between the plan and what was last applied,
//! which the state keeps exactly.
//!
//! ```text
//! events ─▶ State::handle ─▶ prepare ─▶ schedule (now? later?) ─▶ ProxyBackend::apply
//!                                           ▲                          │ Ok: committed,
//!                                           └── failed: back-off ◀─────┘ stale flows removed
//! ```
//!
//! Invariants:
//!
//! * Nothing is applied before all initial lists have arrived, and the Node object if the settings require it.
//! * A change is applied at once unless an apply is running or the minimum period has not passed.
//! * Changes that arrive during an apply are applied together in the next one.
//! * A failed apply loses no change and does not delay the other family.
//! * No apply waits for a search for stale flows.
//! * When the loop stops, the rules remain.
//!
//! [`State`]: portolan_core::State

mod family;
mod flows;
mod observer;
mod schedule;
mod settings;
mod sync_loop;
mod thread;

pub use observer::{Attempt, Cause, FlowAttempt, SyncObserver};
pub use settings::{Configuration, NodeWait, SyncSettings};
pub use sync_loop::{Stopped, SyncLoop};
pub use thread::{SyncThread, SyncThreadError};

/// Log target of messages that need `-v 2`: one line per sync of the rules.
pub const DETAIL: &str = "portolan::detail";

#[cfg(test)]
mod tests;
