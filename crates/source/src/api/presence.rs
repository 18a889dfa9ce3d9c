//! Whether the API server is there, as far as its answers tell.
//!
//! Everything that asks one server shares a [`Presence`]: when the server comes back after an outage, the first request
//! that is answered shortens the waits of all others. Each keeps a [`Contact`] of its own, which tells a server that has
//! just come back from one that rejects requests for good.

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
pub(crate) struct Presence(watch::Sender<bool>);

impl Default for Presence {
    fn default() -> Self {
        Self(watch::Sender::new(true))
    }
}

impl Presence {
    /// A request got no answer.
    pub(crate) fn missed(&self) {
        self.0.send_if_modified(|answers| std::mem::replace(answers, false));
    }

    /// A request was answered, whatever the answer.
    pub(crate) fn answered(&self) {
        self.0.send_if_modified(|answers| !std::mem::replace(answers, true));
    }

    /// Waits for `wait`, or until shortly after another request was answered. For those whose own last request was not.
    pub(crate) async fn wait(&self, wait: Duration, timing: &Timing) {
        let back = async {
            // The sender is `self`, so it cannot fail.
            let _ = self.0.subscribe().wait_for(|answers| *answers).await;
            sleep(jitter(timing)).await;
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = back => {}
        }
    }
}

/// A random delay of at most 2 s.
pub(super) fn jitter(timing: &Timing) -> Duration {
    JITTER.min(timing.last_retry).mul_f64(fastrand::f64())
}

/// What one client knows of the server's presence.
#[derive(Debug)]
pub(super) struct Contact {
    presence: Arc<Presence>,
    timing: Timing,
    /// When the server last answered.
    answered: Option<Instant>,
    /// Whether it has not answered since.
    missing: bool,
    /// When it answered for the first time, at the start or after an outage.
    back: Option<Instant>,
}

impl Contact {
    pub(super) fn new(presence: Arc<Presence>, timing: Timing) -> Self {
        Self { presence, timing, answered: None, missing: false, back: None }
    }

    /// A request got no answer.
    pub(super) fn missed(&mut self) {
        self.missing = true;
        self.presence.missed();
    }

    /// A request was answered. True if that is the first answer, or ends an outage.
    pub(super) fn answered(&mut self) -> bool {
        let ends_outage = self.answered.is_none() || self.is_away();
        let now = Instant::now();
        if ends_outage {
            self.back = Some(now);
        }
        (self.answered, self.missing) = (Some(now), false);
        self.presence.answered();
        ends_outage
    }

    /// Whether there is an outage. A server that answers only some requests is not away: without that distinction its
    /// answers would shorten every wait.
    fn is_away(&self) -> bool {
        self.missing && self.answered.is_none_or(|at| at.elapsed() >= self.timing.last_retry * 2)
    }

    /// Whether the server may still be starting: it came back a moment ago, so what it rejects now (rights that are not
    /// loaded, APIs that are not registered) it may accept in a few seconds.
    pub(super) fn may_be_starting(&self) -> bool {
        self.back.is_some_and(|at| at.elapsed() < self.timing.last_retry)
    }

    /// Waits for `wait`; in an outage no longer than until shortly after the server answers another request.
    pub(super) async fn wait(&self, wait: Duration) {
        if self.is_away() { self.presence.wait(wait, &self.timing).await } else { sleep(wait).await }
    }
}
