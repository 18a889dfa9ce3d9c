//! Saying something once in a while that would otherwise be said a thousand times a second.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long nothing is said after something was.
const PAUSE: Duration = Duration::from_secs(10);

/// Remembers when something was last said.
#[derive(Debug, Default)]
pub(crate) struct Quiet(Mutex<Option<Instant>>);

impl Quiet {
    /// Whether to say it again; whoever asks is taken to do so.
    pub(crate) fn is_due(&self) -> bool {
        self.is_due_at(Instant::now())
    }

    fn is_due_at(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| now.saturating_duration_since(last) >= PAUSE);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_said_at_once_and_then_after_a_pause() {
        let (quiet, start) = (Quiet::default(), Instant::now());
        assert!(quiet.is_due_at(start));
        assert!(!quiet.is_due_at(start + PAUSE / 2));
        assert!(quiet.is_due_at(start + PAUSE));
    }
}
