//! Turns API-server watches, or a folder of manifests, into core events.
//!
//! The only crate that depends on Kubernetes' objects, their JSON and their YAML. Both
//! sources end in the same stream, so nothing downstream can distinguish them:
//!
//! ```text
//! API server ─▶ api ───────┐
//!                          ├─▶ wire (only fields in use) ─▶ convert ─▶ portolan_core::Event
//! folder ────▶ manifests ──┘
//! ```
//!
//! One thing goes in the other direction: reports to an [`EventRecorder`] become
//! Kubernetes' Events (not to be confused with the core's, which are changes of objects).
//!
//! Invariants: of each kind the first event is one `Replaced` with all objects; a malformed object has no effect on
//! others; and while a source is broken or unavailable, the last events remain in effect.

mod api;
mod convert;
mod decode;
mod error;
mod folder_watch;
mod manifests;
mod metrics;
mod recorder;
#[cfg(test)]
mod tests;
mod wire;

pub use api::{Answered, ApiServer, ApiSource, ClientObserver, Timing};
pub use error::SourceError;
pub use folder_watch::{Changes, FolderWatch};
pub use manifests::ManifestSource;
pub use metrics::{Count, SourceMetrics};
pub use recorder::{EventRecorder, Regarding, Report, ReportKind};
