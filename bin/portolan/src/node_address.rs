//! The family that comes first on this node, and settings that do not fit it.
//!
//! kube-proxy calls the family of the Node's first address primary, or that of `bindAddress`. Here it
//! decides about log lines, and whether a node with one family can run at all.

use portolan_config::{Config, ConfigError, Note, NoteLevel};
use portolan_core::IpFamily;
use portolan_core::event::Node;
use tracing::{error, info, warn};

/// Logs one line for each note.
pub(crate) fn log_notes(notes: &[Note]) {
    for Note { level, field, message } in notes {
        match level {
            NoteLevel::Info => info!(field, "{message}"),
            NoteLevel::Warning => warn!(field, "{message}"),
            NoteLevel::Error => error!(field, "{message}"),
        }
    }
}

/// Checks the families as far as that can be done before the Node object is known.
///
/// # Errors
/// There is but one family here, and it is not the one that comes first.
pub(crate) fn check_single_family(config: &Config, served: &[IpFamily]) -> Result<(), ConfigError> {
    let [only] = served else { return Ok(()) };
    let primary = config.bind_address.map_or(*only, IpFamily::of);
    log_notes(&config.check_families(served, primary)?);
    Ok(())
}

/// Checks the families of a node once it is known which comes first.
pub(crate) struct FamilyCheck {
    config: Option<Config>,
    served: Vec<IpFamily>,
}

impl FamilyCheck {
    /// Waits for the Node object.
    pub(crate) fn new(config: &Config, served: &[IpFamily]) -> Self {
        Self { config: Some(config.clone()), served: served.to_vec() }
    }

    /// This is the Node object.
    pub(crate) fn node(&mut self, node: &Node) {
        let first = node.addresses.first().copied();
        let Some(first) = first else { return };
        let Some(config) = self.config.take() else { return };
        let primary = IpFamily::of(config.bind_address.unwrap_or(first));
        if !self.served.contains(&primary) {
            return error!(family = %primary, "the family that comes first on this node is not served");
        }
        // Of a node with one family all else is known from the start.
        if self.served.len() < 2 {
            return;
        }
        match config.check_families(&self.served, primary) {
            Ok(notes) => log_notes(&notes),
            // With both families no setting makes forwarding impossible.
            Err(problem) => error!(err = %problem, "the configuration does not fit this node"),
        }
    }
}
