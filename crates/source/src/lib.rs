//! Turns API-server watches, or a folder of manifests, into core events.
//!
//! The only crate that knows Kubernetes' objects, their JSON and their YAML. Both
//! sources end in the same stream, so nothing downstream can tell them apart:
//!
//! ```text
//! API server ─▶ api ───────┐
//!                          ├─▶ wire (only our fields) ─▶ convert ─▶ portolan_core::Event
//! folder ────▶ manifests ──┘
//! ```
//!
//! One thing goes the other way: what is reported through an [`EventRecorder`] becomes
//! Kubernetes' Events (not to be confused with the core's, which are changes of objects).
//!
//! Always holds: of each kind the first event is one `Replaced` with everything
//! there is; an object that cannot be read changes nothing about the others; and
//! what was sent last stays in force while a source is broken or out of reach.

mod api;
mod client;
mod convert;
mod decode;
#[cfg(test)]
mod downstream;
mod error;
#[cfg(test)]
mod log;
mod manifests;
mod metrics;
mod recorder;
mod resource;
mod wire;

pub use api::{ApiServer, ApiSource, Timing};
pub use client::{Answered, ClientObserver};
pub use convert::{Converted, Converter, Origin, Problem};
pub use decode::{Identity, Malformed};
pub use error::SourceError;
pub use manifests::ManifestSource;
pub use metrics::{Count, SourceMetrics};
pub use recorder::{EventRecorder, Regarding, Report, ReportKind};
