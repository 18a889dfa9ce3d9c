//! Where Services and endpoints come from.

use std::future::pending;
use std::sync::Arc;

use anyhow::bail;
use portolan_config::Source;
use portolan_core::Event;
use portolan_core::name::Name;
use portolan_source::{ManifestSource, SourceError, SourceMetrics};
use tokio::sync::mpsc;

/// A source that is ready to run.
pub(crate) enum AnySource {
    /// A folder of manifests.
    Manifests(ManifestSource),
}

impl AnySource {
    /// Makes the source that the configuration names.
    pub(crate) fn new(source: &Source, node_name: Name) -> anyhow::Result<Self> {
        match source {
            Source::Manifests(folder) => Ok(Self::Manifests(ManifestSource::new(folder, node_name))),
            Source::Api(_) => bail!("an API server cannot be watched yet, give a folder with --manifests"),
        }
    }

    /// What it counts.
    pub(crate) fn metrics(&self) -> Arc<SourceMetrics> {
        match self {
            Self::Manifests(source) => source.metrics(),
        }
    }

    /// Sends events until it fails or nobody takes them.
    pub(crate) async fn run(self, events: mpsc::Sender<Event>) -> Result<(), SourceError> {
        match self {
            Self::Manifests(source) => source.run(events, pending()).await,
        }
    }
}
