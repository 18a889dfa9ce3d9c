//! Brings reports to the server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Mutex as Turn, Notify};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::Report;
use super::ledger::{Due, Entry, Haste, Ledger};
use super::wire::Reporter;
use crate::api::backoff::Backoff;
use crate::api::failure::Failure;
use crate::api::link::{Link, Manner};
use crate::api::presence::Presence;
use crate::api::telling::Telling;
use crate::metrics::Count;

/// Errors of the server after which an Event is given up, so that one that it cannot
/// digest does not keep back all others. As in Kubernetes' own clients.
///
/// With growing waits this takes minutes, in which a server that has just started loads rights and registers APIs.
const TRIES: u32 = 12;

/// Everything between a report and the server.
#[derive(Debug)]
pub(crate) struct Delivery {
    link: Link,
    presence: Arc<Presence>,
    reporter: Reporter,
    ledger: Mutex<Ledger>,
    news: Notify,
    /// Held by whoever sends, so that nothing is sent twice.
    sender: Turn<Sender>,
}

#[derive(Debug)]
struct Sender {
    backoff: Backoff,
    telling: Telling,
}

/// What came of looking for something to send.
#[derive(Debug)]
enum Outcome {
    /// Something was sent, or is done with; there may be more.
    Settled,
    /// The server cannot take anything now. Try again after this wait; an outage may end earlier.
    Later { wait: Duration, outage: bool },
    /// There is nothing until this time, unless somebody reports something.
    Idle(Option<Instant>),
}

/// What a failure means for an Event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The server does not want it.
    Never,
    /// The server rejects it, for the time being perhaps; others it may take.
    NotYet { tries: u32 },
    /// The server takes nothing at present.
    NotNow,
}

impl Delivery {
    pub(crate) fn new(link: Link, node: &str, presence: Arc<Presence>) -> Self {
        let backoff = Backoff::new(link.timing.first_retry, link.timing.last_retry);
        Self {
            link,
            presence,
            reporter: Reporter::new(node),
            ledger: Mutex::default(),
            news: Notify::new(),
            sender: Turn::new(Sender { backoff, telling: Telling::default() }),
        }
    }

    pub(super) fn take(&self, report: Report) {
        let given_up = self.ledger().take(report, Instant::now(), Timestamp::now());
        self.link.metrics.add(Count::EventsDropped, given_up);
        self.news.notify_one();
    }

    /// Sends what is reported, for ever.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            match self.step(Haste::None).await {
                Outcome::Settled => {}
                Outcome::Later { wait, outage: true } => self.presence.wait(wait, &self.link.timing).await,
                Outcome::Later { wait, outage: false } => sleep(wait).await,
                Outcome::Idle(None) => self.news.notified().await,
                Outcome::Idle(Some(until)) => tokio::select! {
                    () = self.news.notified() => {}
                    () = sleep_until(until) => {}
                },
            }
        }
    }

    pub(super) async fn flush(&self, patience: Duration) {
        let empty = async {
            loop {
                match self.step(Haste::Last).await {
                    Outcome::Settled => {}
                    Outcome::Later { wait, .. } => sleep(wait).await,
                    Outcome::Idle(_) => return,
                }
            }
        };
        if timeout(patience, empty).await.is_err() {
            info!(server = &*self.link.server, waited = ?patience, "some Events could not be sent any more");
        }
    }

    /// Sends one thing, if there is one.
    async fn step(&self, haste: Haste) -> Outcome {
        let mut sender = self.sender.lock().await;
        let due = self.ledger().due(Instant::now(), haste);
        let entry = match due {
            Due::Now(entry) => entry,
            Due::At(time) => return Outcome::Idle(Some(time)),
            Due::Nothing => return Outcome::Idle(None),
        };
        let result = self.send(&entry).await;
        let outage = result.as_ref().is_err_and(Failure::is_outage);
        if outage {
            self.presence.missed();
        } else {
            self.presence.answered();
        }
        let Err(failure) = result else {
            self.delivered(&entry, &mut sender);
            return Outcome::Settled;
        };
        match self.verdict(&failure, &entry) {
            Verdict::Never => self.turned_down(&entry, &failure, &mut sender),
            Verdict::NotYet { tries } => {
                let wait = sender.backoff.after(tries);
                self.ledger().put_aside(&entry, Instant::now() + wait);
                self.not_taken(&entry, &failure, &mut sender);
            }
            Verdict::NotNow => {
                return Outcome::Later { wait: self.postponed(&failure, &mut sender), outage };
            }
        }
        Outcome::Settled
    }

    async fn send(&self, entry: &Entry) -> Result<(), Failure> {
        let unspeakable =
            |error: serde_json::Error| Failure::garbled(format!("cannot be asked for: {error}"));
        if entry.is_known {
            let request = self.reporter.count(entry).map_err(unspeakable)?;
            match self.link.send(Manner::Patch, &request.path, request.body).await {
                // Servers forget Events after an hour; then it is a new one.
                Err(failure) if failure.is_unknown() => {}
                result => return result,
            }
        }
        let request = self.reporter.create(entry).map_err(unspeakable)?;
        match self.link.send(Manner::Create, &request.path, request.body).await {
            // It came after all, when we thought that it had not.
            Err(failure) if failure.is_conflict() => Ok(()),
            result => result,
        }
    }

    fn delivered(&self, entry: &Entry, sender: &mut Sender) {
        self.link.metrics.add(Count::EventsSent, 1);
        self.ledger().delivered(entry, Instant::now());
        sender.backoff.succeed();
        let (server, reason) = (&*self.link.server, entry.report.reason);
        debug!(server, reason, times = entry.count, "sent an Event");
        if let Some(outage) = sender.telling.succeed() {
            let failures = outage.failures;
            info!(server, failures, lasted_s = outage.lasted.as_secs(), "Events can be sent again");
        }
    }

    fn verdict(&self, failure: &Failure, entry: &Entry) -> Verdict {
        let Failure::Refused(refusal) = failure else { return Verdict::NotNow };
        match refusal.code {
            // About the server's state, or about credentials that may be renewed at any time.
            401 | 429 | 502..=504 => Verdict::NotNow,
            403 | 404 | 500.. => match self.ledger().failed(entry) {
                TRIES.. => Verdict::Never,
                tries if refusal.code < 500 => Verdict::NotYet { tries },
                _ => Verdict::NotNow,
            },
            _ => Verdict::Never,
        }
    }

    fn turned_down(&self, entry: &Entry, failure: &Failure, sender: &mut Sender) {
        self.link.metrics.add(Count::EventsFailed, 1);
        self.ledger().turned_down(entry, Instant::now());
        self.not_taken(entry, failure, sender);
    }

    fn not_taken(&self, entry: &Entry, failure: &Failure, sender: &mut Sender) {
        // The server answers, whatever it says.
        sender.backoff.succeed();
        if sender.telling.fail(&failure.class()) {
            let (server, reason) = (&*self.link.server, entry.report.reason);
            warn!(server, reason, "the API server does not take an Event: {failure}");
        }
    }

    fn postponed(&self, failure: &Failure, sender: &mut Sender) -> Duration {
        let longest = self.link.timing.last_retry;
        let wait = sender.backoff.fail().max(failure.asked_to_wait().min(longest));
        if sender.telling.fail(&failure.class()) {
            let (server, retry_ms) = (&*self.link.server, wait.as_millis());
            warn!(server, retry_ms, "cannot send Events: {failure}");
        }
        wait
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
