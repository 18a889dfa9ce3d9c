//! The switches.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::watch;

use super::{ApiServer, Request, lock};

/// How a server answers a watch that asks for a streamed initial list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StreamedLists {
    /// As asked.
    #[default]
    Supported,
    /// HTTP 200 and an error event, as a server whose storage cannot do it.
    NoStorage,
    /// HTTP 422, as a server whose feature gate is off.
    Forbidden,
    /// The parameter means nothing to it: a plain watch, as before Kubernetes 1.27.
    Unknown,
}

/// What becomes of every watch, streamed lists included, as behind a balancer or a proxy that cannot do watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchFault {
    /// HTTP 200, and the end of the answer.
    EndsAtOnce,
    /// The connection breaks in the middle of the first event.
    BreaksInEvents,
    /// The answer ends after the first event.
    EndsAfterAnEvent,
    /// HTTP 200, and nothing more.
    Mute,
    /// No answer.
    Unanswered,
    /// This HTTP status.
    Refused(u16),
}

/// An answer that the server gives instead of the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status, such as 401, 403, 429 or 500.
    pub status: u16,
    /// Resource to refuse, such as `services`; all when empty.
    pub resource: &'static str,
}

/// How an answer ends too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The connection breaks.
    Broken,
    /// The body just ends.
    Orderly,
}

#[derive(Debug)]
pub(super) struct Faults {
    /// Largest page of a list, whatever the client asks for; 0 for no limit.
    pub(super) page_limit: AtomicUsize,
    /// Whether every page but the last leads to itself.
    pub(super) repeat_pages: AtomicBool,
    pub(super) streamed_lists: Mutex<StreamedLists>,
    pub(super) bookmarks: watch::Sender<Option<Duration>>,
    pub(super) refusal: Mutex<Option<Refusal>>,
    pub(super) watches: Mutex<Option<WatchFault>>,
    /// Header `retry-after` of refusals.
    pub(super) retry_after: Mutex<Option<HeaderValue>>,
    /// Identities that are accepted; all at first.
    identities: Mutex<Option<Vec<String>>>,
    /// Whether only what a proxy may ask for is allowed.
    pub(super) only_node_proxier: AtomicBool,
    pub(super) stalled: watch::Sender<bool>,
    /// Pause before each piece of a body.
    pub(super) pause: Mutex<Duration>,
    /// Objects of a list that still go out before it ends too early, and how.
    pub(super) break_after: Mutex<Option<(usize, End)>>,
    /// Whether connections are to be turned away.
    pub(super) down: watch::Sender<bool>,
    /// Whether connections are taken in at present.
    pub(super) listening: watch::Sender<bool>,
    /// Counts up when all connections are to be closed.
    pub(super) cuts: watch::Sender<u64>,
    /// Open connections by the number of cuts that they came after.
    pub(super) open: watch::Sender<BTreeMap<u64, usize>>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            page_limit: AtomicUsize::new(0),
            repeat_pages: AtomicBool::new(false),
            streamed_lists: Mutex::default(),
            bookmarks: watch::Sender::new(None),
            refusal: Mutex::default(),
            watches: Mutex::default(),
            retry_after: Mutex::default(),
            identities: Mutex::default(),
            only_node_proxier: AtomicBool::new(false),
            stalled: watch::Sender::new(false),
            pause: Mutex::default(),
            break_after: Mutex::default(),
            down: watch::Sender::new(false),
            listening: watch::Sender::new(true),
            cuts: watch::Sender::new(0),
            open: watch::Sender::default(),
        }
    }
}

impl Faults {
    /// Closes all connections; the number of requests to do so.
    pub(super) fn begin_cut(&self) -> u64 {
        self.cuts.send_modify(|cuts| *cuts += 1);
        *self.cuts.borrow()
    }

    /// Whether the sender of a request is accepted.
    pub(super) fn knows(&self, request: &Request) -> bool {
        let shown = [&request.client, &request.authorization];
        lock(&self.identities).as_ref().is_none_or(|known| shown.iter().any(|shown| known.contains(shown)))
    }

    /// Holds a stream back while the server is stalled or slow.
    pub(super) async fn hold_back(&self) {
        let pause = *lock(&self.pause);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        // Fails only once the server is gone, and the stream with it.
        let _ = self.stalled.subscribe().wait_for(|stalled| !stalled).await;
    }
}

impl ApiServer {
    /// Serves lists in pages of at most `objects`, even to clients that ask for more; 0 for no limit.
    pub fn limit_pages(&self, objects: usize) {
        self.shared.faults.page_limit.store(objects, Ordering::Relaxed);
    }

    /// Lets every page but the last lead to itself, as a cache does that leaves the query out of account.
    pub fn repeat_pages(&self, repeat: bool) {
        self.shared.faults.repeat_pages.store(repeat, Ordering::Relaxed);
    }

    /// Makes every `continue` token given out so far too old.
    pub fn expire_continue_tokens(&self) {
        lock(&self.shared.store).expire_tokens();
    }

    /// Decides about streamed initial lists.
    pub fn set_streamed_lists(&self, support: StreamedLists) {
        *lock(&self.shared.faults.streamed_lists) = support;
    }

    /// Sends bookmarks this often to the watches that asked for them; at first there are none.
    pub fn send_bookmarks(&self, every: Option<Duration>) {
        self.shared.faults.bookmarks.send_replace(every);
    }

    /// Forgets the past: a watch can no longer start, nor go on, from an earlier version.
    ///
    /// Running watches that have seen everything are left alone.
    pub fn compact(&self) {
        let version = lock(&self.shared.store).compact();
        self.shared.newest.send_replace(version);
    }

    /// Forgets the past and ends every running watch with a 410 as well.
    pub fn expire_watches(&self) {
        let version = lock(&self.shared.store).expire_watches();
        self.shared.newest.send_replace(version);
    }

    /// Closes all connections; they are closed when this returns.
    pub async fn cut_connections(&self) {
        let cuts = self.shared.faults.begin_cut();
        let closed = |open: &BTreeMap<u64, usize>| open.range(..cuts).all(|(_, count)| *count == 0);
        // Fails only once the server is gone.
        let _ = self.shared.faults.open.subscribe().wait_for(closed).await;
    }

    /// Closes all connections and refuses new ones, until brought up again. Objects stay.
    pub async fn set_down(&self, down: bool) {
        self.shared.faults.down.send_replace(down);
        // Fails only once the server is gone.
        let _ = self.shared.faults.listening.subscribe().wait_for(|listening| *listening != down).await;
        if down {
            self.cut_connections().await;
        }
    }

    /// Lets answers begin and never continue, until changed.
    pub fn stall(&self, stalled: bool) {
        self.shared.faults.stalled.send_replace(stalled);
    }

    /// Waits this long before each piece of an answer.
    pub fn slow_down(&self, pause: Duration) {
        *lock(&self.shared.faults.pause) = pause;
    }

    /// Breaks the connection of the next list, or streamed list, after this many of its objects.
    pub fn break_next_list_after(&self, objects: usize) {
        *lock(&self.shared.faults.break_after) = Some((objects, End::Broken));
    }

    /// Ends the next list, or streamed list, in good order after this many of its objects, though there are more.
    pub fn end_next_list_after(&self, objects: usize) {
        *lock(&self.shared.faults.break_after) = Some((objects, End::Orderly));
    }

    /// Refuses requests, until called with nothing.
    pub fn refuse(&self, refusal: Option<Refusal>) {
        *lock(&self.shared.faults.refusal) = refusal;
    }

    /// Spoils watches that begin from now on, until called with nothing.
    pub fn spoil_watches(&self, fault: Option<WatchFault>) {
        *lock(&self.shared.faults.watches) = fault;
    }

    /// Sends this header `retry-after` with every refusal, until called with nothing.
    pub fn set_retry_after(&self, value: Option<HeaderValue>) {
        *lock(&self.shared.faults.retry_after) = value;
    }

    /// Answers 401 from now on to requests without one of these identities: the name of a client whose
    /// certificate was shown, or the value of the header `authorization`.
    pub fn accept_only(&self, identities: &[&str]) {
        *lock(&self.shared.faults.identities) = Some(identities.iter().map(ToString::to_string).collect());
    }
}
