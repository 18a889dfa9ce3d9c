//! Decides when to apply: merges bursts, retries, times and reports each run.
//!
//! One task, on a thread of its own ([`SyncThread`]), owns the [`State`] and one
//! backend per IP family. It takes in whatever events there are, lets each family's
//! schedule say whether it is time, and applies. There is nothing to lock
//! and no queue of work: what must be done is always the difference between the
//! plan and what was last applied, which the state keeps exactly.
//!
//! ```text
//! events ─▶ State::handle ─▶ prepare ─▶ schedule (now? later?) ─▶ ProxyBackend::apply
//!                                           ▲                          │ Ok: committed,
//!                                           └── failed: back-off ◀─────┘ stale flows removed
//! ```
//!
//! Always holds: nothing is applied before all initial lists have come, and the Node object
//! where it is waited for; a change is applied at once when nothing is going on and no
//! minimum period holds it; what arrives during an apply makes up the next one; a failed
//! apply loses nothing, and does not hold up the other family; no apply waits for a search for
//! stale flows. Stopping leaves the rules as they are.
//!
//! [`State`]: portolan_core::State

mod backoff;
mod failures;
mod family;
mod flows;
mod node_wait;
mod observer;
mod programming;
mod schedule;
mod settings;
mod sync_loop;
mod thread;

pub use node_wait::{NodeNeed, NodeWait};
pub use observer::{Attempt, Cause, FlowAttempt, SyncObserver};
pub use settings::{Configuration, SyncSettings};
pub use sync_loop::{Stop, Stopped, SyncLoop};
pub use thread::{SyncThread, SyncThreadError};

/// Log target of what `-v 2` adds: one line per update of the rules.
pub const DETAIL: &str = "portolan::detail";

#[cfg(test)]
mod tests;
