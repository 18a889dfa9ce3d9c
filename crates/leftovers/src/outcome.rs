//! What became of a step.

use portolan_core::IpFamily;
use portolan_core::backend::{CleanupFailure, CleanupReport};

use crate::{LeftoverError, Part};

/// What became of one step of a [`remove`](crate::remove).
#[derive(Debug)]
pub struct Outcome {
    /// The part that the step belongs to.
    pub part: Part,
    /// The family, or nothing for what serves both.
    pub family: Option<IpFamily>,
    /// How many objects went: tables, chains, rules that led into chains, sets, virtual servers, devices.
    /// Also of a step that failed afterwards.
    pub removed: usize,
    /// What stayed though it is a leftover, each with the reason, in words for a log.
    pub kept: Vec<String>,
    /// How many virtual servers stay because connections use them; there may be none a little later.
    pub lasting: usize,
    /// Whether anything was found that is to go. If not, a failure says only that nobody could look.
    pub found: bool,
    /// Whether the step was carried out; nothing found is success.
    pub result: Result<(), LeftoverError>,
}

impl Outcome {
    /// Carries out a step and keeps count.
    pub(crate) fn of(
        part: Part,
        family: Option<IpFamily>,
        step: impl FnOnce(&mut Progress) -> Result<(), LeftoverError>,
    ) -> Self {
        let mut progress = Progress::default();
        let result = step(&mut progress);
        Self {
            part,
            family,
            removed: progress.removed,
            kept: progress.kept,
            lasting: progress.lasting,
            found: progress.found,
            result,
        }
    }
}

/// All steps of a removal together.
impl FromIterator<Outcome> for CleanupReport {
    fn from_iter<I: IntoIterator<Item = Outcome>>(outcomes: I) -> Self {
        let mut report = Self::default();
        for Outcome { removed, kept, lasting, found, result, .. } in outcomes {
            let failure = result.err().map(|error| CleanupFailure { found, error: Box::new(error) });
            let failures = failure.into_iter().collect();
            report.merge(Self { removed, kept, in_use: lasting, failures });
        }
        report
    }
}

/// What a step has done so far.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Whether anything was found that is to go.
    pub(crate) found: bool,
    /// How many objects went.
    pub(crate) removed: usize,
    /// What stayed, with the reason.
    pub(crate) kept: Vec<String>,
    /// Virtual servers that connections use.
    pub(crate) lasting: usize,
}
