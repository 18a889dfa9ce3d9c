//! What a changed file changes.

/// A setting that two configurations have different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its path as in the file, such as `conntrack.min`, or the flag with its dashes.
    pub field: String,
    /// When the new value counts.
    pub takes_effect: TakesEffect,
}

/// When a changed setting counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakesEffect {
    /// At once, in the running process.
    Live,
    /// When the process is started again.
    Restart,
}
