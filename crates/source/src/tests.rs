//! What the tests of several modules use.

pub(crate) mod downstream;
pub(crate) mod log;
