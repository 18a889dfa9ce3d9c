//! What a mode would need and this host does not have.

/// What is missing, in words for people: it follows "needs" or "because".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Missing {
    what: String,
}

impl Missing {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}
