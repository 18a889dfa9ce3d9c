//! What a failure means to a watch: how long to wait, and what the log hears.

use std::fmt;
use std::time::Duration;

use portolan_core::event::Change;
use tracing::{error, info, warn};

use super::failure::Failure;
use super::follow::{Follower, Position};
use super::telling::Outage;
use crate::metrics::Count;
use crate::resource::Resource;

/// A watch that lasted this long shows that the server is well; only then does a
/// later failure count as the first again. Without it, a server that accepts watches
/// and drops them would be asked as fast as the network allows.
pub(super) const SOUND: Duration = Duration::from_secs(1);

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
    pub(super) async fn wait_after(&mut self, failure: &Failure, lasted: Duration) -> Duration {
        if matches!(failure, Failure::Renewed) {
            return Duration::ZERO;
        }
        self.link.metrics.add_error(Count::Failures, T::KIND);
        let followed = matches!(self.position, Position::At(_));
        if failure.is_expired() {
            self.position = Position::Expired;
        }
        let meaning = match () {
            () if failure.is_expired() && followed => Meaning::TooOld,
            () if followed && lasted >= SOUND => Meaning::BrokeOff,
            () if T::OPTIONAL && failure.is_unknown() => Meaning::NoSuchKind,
            () if followed => Meaning::CannotWatch,
            () => Meaning::CannotList,
        };
        let wait = match meaning {
            Meaning::BrokeOff => {
                self.backoff.succeed();
                failure.asked_to_wait().min(self.link.timing.last_retry)
            }
            Meaning::NoSuchKind => self.link.timing.last_retry * RARELY,
            _ => self.backoff.fail().max(failure.asked_to_wait().min(self.link.timing.last_retry)),
        };
        if meaning == Meaning::NoSuchKind {
            self.do_without().await;
        }
        if self.telling.fail(&format!("{meaning:?}, {}", failure.class())) {
            self.tell(failure, meaning, wait);
        }
        wait
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
