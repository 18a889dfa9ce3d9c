//! Whether the API server is available, judged by its answers.
//!
//! Everything that sends requests to one server shares an [`Availability`]: when the server returns after an outage, the
//! first request that is answered shortens the waits of all others. Each has a [`ServerState`] of its own, which
//! distinguishes a server that has just returned from one that keeps rejecting requests.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::Timing;

/// Longest delay between the answer that ends an outage and the requests that follow it, so that the nodes of a cluster
/// do not all list in the same instant.
const JITTER: Duration = Duration::from_secs(2);

/// Whether the server answered the last request of any client in this process.
#[derive(Debug)]
pub(crate) struct Availability(watch::Sender<bool>);

impl Default for Availability {
    fn default() -> Self {
        Self(watch::Sender::new(true))
    }
}

impl Availability {
    /// Notes whether a request was answered, whatever the answer.
    pub(crate) fn set(&self, is_answered: bool) {
        self.0.send_if_modified(|answers| std::mem::replace(answers, is_answered) != is_answered);
    }

    /// Waits for `wait`, or until shortly after another request was answered. For callers whose own last request was
    /// not.
    pub(crate) async fn wait(&self, wait: Duration, timing: &Timing) {
        let answered = async {
            // The sender is `self`, so it cannot fail.
            let _ = self.0.subscribe().wait_for(|answers| *answers).await;
            sleep(jitter(timing)).await;
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = answered => {}
        }
    }
}

/// A random delay of at most 2 s.
pub(super) fn jitter(timing: &Timing) -> Duration {
    JITTER.min(timing.last_retry).mul_f64(fastrand::f64())
}

/// The server's availability as one client sees it.
#[derive(Debug)]
pub(super) struct ServerState {
    availability: Arc<Availability>,
    timing: Timing,
    last_answer: Option<Instant>,
    /// Whether a request since then was not answered.
    is_unanswered: bool,
    /// Time of the first answer, at the start or after an outage.
    returned: Option<Instant>,
}

impl ServerState {
    pub(super) fn new(availability: Arc<Availability>, timing: Timing) -> Self {
        Self { availability, timing, last_answer: None, is_unanswered: false, returned: None }
    }

    /// Notes that a request was not answered.
    pub(super) fn unanswered(&mut self) {
        self.is_unanswered = true;
        self.availability.set(false);
    }

    /// Notes that a request was answered. Returns whether that is the first answer, or ends an outage.
    pub(super) fn answered(&mut self) -> bool {
        let ends_outage = self.last_answer.is_none() || self.is_outage();
        let now = Some(Instant::now());
        if ends_outage {
            self.returned = now;
        }
        (self.last_answer, self.is_unanswered) = (now, false);
        self.availability.set(true);
        ends_outage
    }

    /// Whether there is an outage. A server that answers only some requests is available: without that distinction its
    /// answers would shorten every wait.
    fn is_outage(&self) -> bool {
        self.is_unanswered && self.last_answer.is_none_or(|at| at.elapsed() >= self.timing.last_retry * 2)
    }

    /// Whether the server may still be starting: it returned a moment ago, so what it rejects now (rights that are not
    /// loaded, APIs that are not registered) it may accept in a few seconds.
    pub(super) fn may_be_starting(&self) -> bool {
        self.returned.is_some_and(|at| at.elapsed() < self.timing.last_retry)
    }

    /// Waits for `wait`; in an outage no longer than until shortly after the server answers another request.
    pub(super) async fn wait(&self, wait: Duration) {
        if self.is_outage() { self.availability.wait(wait, &self.timing).await } else { sleep(wait).await }
    }
}
