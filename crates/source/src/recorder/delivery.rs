//! Sends reported Events to the server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use portolan_core::retry::Outage;
use portolan_core::{Backoff, LogLimiter};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::Report;
use super::cache::{Entry, EventCache};
use super::event::Reporter;
use crate::api::availability::Availability;
use crate::api::client::ApiClient;
use crate::api::failure::Failure;
use crate::metrics::Count;

/// Rejections after which an Event is dropped, so that one that the server cannot process does not delay all others. As
/// in Kubernetes' own clients.
///
/// With growing waits these span minutes, in which a server that has just started loads rights and registers APIs.
const MAX_ATTEMPTS: u32 = 12;

/// Caches reports and sends them to the server.
#[derive(Debug)]
pub(crate) struct Delivery {
    client: ApiClient,
    availability: Arc<Availability>,
    reporter: Reporter,
    cache: Mutex<EventCache>,
    reported: Notify,
    /// Held while sending, so that nothing is sent twice.
    sender: tokio::sync::Mutex<Sender>,
}

#[derive(Debug)]
struct Sender {
    backoff: Backoff,
    log: LogLimiter,
}

/// The result of an attempt to send something.
#[derive(Debug)]
enum Outcome {
    /// Something was sent or dropped; there may be more.
    Settled,
    /// The server accepts nothing now. Try again after this wait, or earlier if an outage ends.
    Later { wait: Duration, is_outage: bool },
    /// There is nothing to send until this time, or until the next report.
    Idle(Option<Instant>),
}

impl Delivery {
    pub(crate) fn new(client: ApiClient, node: &str, availability: Arc<Availability>) -> Self {
        let sender = Sender { backoff: client.timing.backoff(), log: LogLimiter::default() };
        Self {
            client,
            availability,
            reporter: Reporter::new(node),
            cache: Mutex::default(),
            reported: Notify::new(),
            sender: tokio::sync::Mutex::new(sender),
        }
    }

    pub(super) fn add(&self, report: Report) {
        let dropped = self.cache().add(report, Instant::now(), Timestamp::now());
        self.client.metrics.add(Count::EventsDropped, dropped);
        self.reported.notify_one();
    }

    /// Sends reports; does not end.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            match self.step(false).await {
                Outcome::Settled => {}
                Outcome::Later { wait, is_outage: true } => {
                    self.availability.wait(wait, &self.client.timing).await;
                }
                Outcome::Later { wait, is_outage: false } => sleep(wait).await,
                Outcome::Idle(None) => self.reported.notified().await,
                Outcome::Idle(Some(until)) => tokio::select! {
                    () = self.reported.notified() => {}
                    () = sleep_until(until) => {}
                },
            }
        }
    }

    pub(super) async fn flush(&self, time_limit: Duration) {
        let empty = async {
            loop {
                match self.step(true).await {
                    Outcome::Settled => {}
                    Outcome::Later { wait, .. } => sleep(wait).await,
                    Outcome::Idle(_) => return,
                }
            }
        };
        if timeout(time_limit, empty).await.is_err() {
            info!(server = &*self.client.server, waited = ?time_limit, "Some Events were not sent before the end");
        }
    }

    /// Sends one Event, if one is due; a last count is sent `at_once`.
    async fn step(&self, at_once: bool) -> Outcome {
        let mut sender = self.sender.lock().await;
        let now = Instant::now();
        let next = self.cache().next(now, at_once).map(|(at, entry)| (at, entry.clone()));
        let entry = match next {
            Some((at, entry)) if at <= now => entry,
            next => return Outcome::Idle(next.map(|(at, _)| at)),
        };
        let result = self.send(&entry).await;
        let is_outage = result.as_ref().is_err_and(Failure::is_outage);
        self.availability.set(!is_outage);
        match result {
            Ok(()) => self.sent(&entry, &mut sender),
            Err(failure) => {
                if let Some(wait) = self.failed(&entry, &failure, &mut sender) {
                    return Outcome::Later { wait, is_outage };
                }
            }
        }
        Outcome::Settled
    }

    async fn send(&self, entry: &Entry) -> Result<(), Failure> {
        let invalid = |error: serde_json::Error| Failure::invalid(format!("cannot be requested: {error}"));
        if entry.is_created {
            let (path, body) = self.reporter.count(entry).map_err(invalid)?;
            match self.client.patch(&path, body).await {
                // Servers delete Events after an hour; then it is a new one.
                Err(failure) if failure.is_status(404) => {}
                result => return result,
            }
        }
        let (path, body) = self.reporter.create(entry).map_err(invalid)?;
        match self.client.create(&path, body).await {
            // An earlier attempt succeeded, although its answer was lost.
            Err(failure) if failure.is_status(409) => Ok(()),
            result => result,
        }
    }

    fn sent(&self, entry: &Entry, sender: &mut Sender) {
        let now = Instant::now();
        self.client.metrics.add(Count::EventsSent, 1);
        self.cache().created(entry, now);
        sender.backoff.reset();
        let (server, reason) = (&*self.client.server, entry.report.reason);
        debug!(server, reason, count = entry.count, "Sent an Event");
        if let Some(Outage { failures, duration }) = sender.log.succeed(now.into_std()) {
            info!(server, failures, ?duration, "Events can be sent again");
        }
    }

    /// Reacts to a failure. Returns the wait if the server accepts no Event at present.
    fn failed(&self, entry: &Entry, failure: &Failure, sender: &mut Sender) -> Option<Duration> {
        let now = Instant::now();
        let (server, reason) = (&*self.client.server, entry.report.reason);
        let is_logged = sender.log.fail(&failure.class(), now.into_std());
        let code = if let Failure::Rejected(rejection) = failure { rejection.code } else { 0 };
        let attempts = match code {
            // Without an answer, or about the server's state, or about credentials that may be renewed at any time.
            0 | 401 | 429 | 502..=504 => 0,
            403 | 404 | 500.. => self.cache().failed(entry),
            _ => MAX_ATTEMPTS,
        };
        if attempts == 0 || attempts < MAX_ATTEMPTS && code >= 500 {
            let longest = self.client.timing.last_retry;
            let wait = sender.backoff.fail(fastrand::f64()).max(failure.retry_after().min(longest));
            if is_logged {
                warn!(server, err = %failure, retryAfter = ?wait, "Failed to send Events");
            }
            return Some(wait);
        }
        // The server answers and may take other Events.
        sender.backoff.reset();
        if attempts < MAX_ATTEMPTS {
            let wait = sender.backoff.delay(attempts, fastrand::f64());
            self.cache().postpone(entry, now + wait);
        } else {
            self.client.metrics.add(Count::EventsFailed, 1);
            self.cache().settle(entry, now);
        }
        if is_logged {
            warn!(server, reason, err = %failure, "API server rejected an Event");
        }
        None
    }

    fn cache(&self) -> MutexGuard<'_, EventCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
