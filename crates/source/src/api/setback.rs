//! What a failure means to a watch: how long to wait, and what the log hears.

use std::fmt;
use std::time::Duration;

use portolan_core::event::Change;
use tracing::{error, info, warn};

use super::failure::Failure;
use super::follow::{Follower, Position, Tried};
use super::presence::jitter;
use super::telling::Outage;
use crate::metrics::Count;
use crate::resource::Resource;

/// A watch that lasted this long shows that the server is well; only then does a
/// later failure count as the first again. Without it, a server that accepts watches
/// and drops them would be asked as fast as the network allows.
pub(super) const SOUND: Duration = Duration::from_secs(1);

/// After this many useless watches in a row, lists take their place: balancers and proxies may end every watch at once
/// or pass nothing on, and rights may allow lists alone.
const FEW: u32 = 3;

/// Longest wait after a rejection by a server that may still be starting.
const STARTING_RETRY: Duration = Duration::from_secs(4);

/// How many of the longest waits pass before asking again for a kind that the server
/// does not have: ten minutes. Only an upgrade brings it.
const RARELY: u32 = 20;

/// What a failure means to a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    TooOld,
    /// It worked for a while.
    BrokeOff,
    /// Another server than this one might have it.
    NoSuchKind,
    CannotWatch,
    CannotList,
}

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::CannotList { "list" } else { "watch" })
    }
}

impl<T: Resource> Follower<T> {
    /// Decides what a failure means and how long to wait because of it.
    pub(super) async fn wait_after(&mut self, failure: &Failure) -> Duration {
        if matches!(failure, Failure::Renewed) {
            return Duration::ZERO;
        }
        self.link.metrics.add_error(Count::Failures, T::KIND);
        let meaning = self.meaning(failure);
        let longest = self.link.timing.last_retry;
        let rejected = matches!(failure, Failure::Refused(_)) && !failure.is_overload();
        let starting = rejected && self.contact.may_be_starting();
        let wait = match meaning {
            Meaning::BrokeOff => {
                self.backoff.succeed();
                Duration::ZERO
            }
            // The server answers, so the list need not wait for the end of an outage.
            Meaning::TooOld if self.listed.elapsed() >= longest => {
                self.relist.succeed();
                jitter(&self.link.timing)
            }
            Meaning::TooOld => self.relist.fail(),
            Meaning::NoSuchKind if !starting => longest * RARELY,
            _ if starting => self.backoff.fail().min(STARTING_RETRY),
            _ => self.backoff.fail(),
        };
        let wait = wait.max(failure.asked_to_wait().min(longest));
        if meaning == Meaning::NoSuchKind {
            self.do_without().await;
        }
        if self.telling.fail(&format!("{meaning:?}, {}", failure.class())) {
            self.tell(failure, meaning, wait);
        }
        wait
    }

    fn meaning(&mut self, failure: &Failure) -> Meaning {
        if failure.is_expired() && matches!(self.position, Position::At(_)) {
            self.position = Position::Expired;
            return Meaning::TooOld;
        }
        if self.tried == Tried::Open {
            self.judge_rejection(failure);
        }
        match self.tried {
            Tried::List if T::OPTIONAL && failure.is_unknown() => Meaning::NoSuchKind,
            Tried::List => Meaning::CannotList,
            Tried::Watch(lasted) if lasted >= SOUND => Meaning::BrokeOff,
            Tried::Open | Tried::Watch(_) => Meaning::CannotWatch,
        }
    }

    /// Takes in that a watch was not accepted. Decides whether to list, because changes may get lost.
    fn judge_rejection(&mut self, failure: &Failure) {
        if matches!(failure, Failure::Refused(_)) && !failure.is_overload() {
            self.hasty = self.hasty.saturating_add(1);
            self.doubtful = self.hasty >= FEW;
        } else {
            // While the server is away, or has too much to do, a list is no better than a watch.
            self.doubtful = self.is_quiet();
        }
    }

    /// Takes in that a watch is over: whether it had `lasted`, and whether it had brought an event. Decides whether to
    /// list, because changes may get lost. A watch that lasts without an event may just have none to bring.
    pub(super) fn judge_watch(&mut self, lasted: bool, heard: bool) {
        if lasted {
            (self.hasty, self.mute) = (0, if heard { 0 } else { self.mute.saturating_add(1) });
        } else {
            self.hasty = self.hasty.saturating_add(1);
        }
        self.doubtful = self.hasty >= FEW || self.mute >= FEW && self.is_quiet();
    }

    /// Takes in that a watch lasts: whether it has brought an event.
    pub(super) fn trust_watch(&mut self, heard: bool) {
        self.hasty = 0;
        if heard {
            self.mute = 0;
        }
        if self.watches_work() {
            self.only_lists = false;
            self.recovered();
        }
    }

    /// Whether watches bring changes, as far as is known.
    pub(super) fn watches_work(&self) -> bool {
        self.hasty < FEW && self.mute < FEW
    }

    /// Whether neither a list nor an event, not even a bookmark, has come for a long time.
    fn is_quiet(&self) -> bool {
        self.heard.elapsed() >= self.link.timing.silence
    }

    fn tell(&self, failure: &Failure, meaning: Meaning, wait: Duration) {
        let (server, kind, retry_ms) = (&*self.link.server, T::KIND, wait.as_millis());
        match meaning {
            Meaning::TooOld => {
                info!(server, kind, reason = %failure, "what was followed is too old now; listing again");
            }
            Meaning::BrokeOff => warn!(server, kind, reason = %failure, "the watch broke off; resuming it"),
            Meaning::NoSuchKind => info!(server, kind, retry_ms, "the API server does not have this kind"),
            // A proxy works without.
            _ if T::OPTIONAL => warn!(server, kind, retry_ms, "cannot {meaning} {kind} objects: {failure}"),
            _ => error!(server, kind, retry_ms, "cannot {meaning} {kind} objects: {failure}"),
        }
    }

    /// Tells what a complete list means: that failures are over, or that lists replace watches.
    pub(super) fn listed_again(&mut self) {
        if self.watches_work() {
            self.recovered();
        } else if !std::mem::replace(&mut self.only_lists, true) && self.telling.fail("only lists") {
            let (server, kind, most) = (&*self.link.server, T::KIND, self.link.timing.last_retry);
            warn!(server, kind, every = ?most, "Watches of {kind} objects bring no changes; listing them repeatedly");
        }
    }

    /// Tells that failures which were told of are over.
    pub(super) fn recovered(&mut self) {
        if let Some(Outage { failures, lasted }) = self.telling.succeed() {
            let (server, kind, lasted_s) = (&*self.link.server, T::KIND, lasted.as_secs());
            info!(server, kind, failures, lasted_s, "{kind} objects can be read again");
        }
    }

    /// Passes on that there are no objects of a kind that the server does not have.
    async fn do_without(&mut self) {
        if self.position == Position::Start && !self.absent {
            // Should nobody listen, the caller finds out by itself.
            self.absent = self.send(Change::Replaced(Vec::new())).await.is_ok();
        }
    }
}
