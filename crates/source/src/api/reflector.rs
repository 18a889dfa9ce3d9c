//! Keeps the receiver of events up to date with one kind of object: lists, then watches.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portolan_core::event::Change;
use portolan_core::name::Interner;
use portolan_core::{Backoff, Event, LogLimiter};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::debug;

use super::availability::{Availability, ServerState};
use super::client::{ApiClient, Chunks, ReadVerb};
use super::decode::{Decoded, Decoder, WatchEvent, WatchStream};
use super::error_policy::{OPTIONAL_LOG_PAUSE, STABLE};
use super::failure::Failure;
use super::list_buffer::ListBuffer;
use super::query::{Position, Selector};
use crate::convert::Resource;
use crate::metrics::Count;

/// Shared by the reflectors of all kinds.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) client: ApiClient,
    pub(super) availability: Arc<Availability>,
    pub(super) names: Arc<Mutex<Interner>>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) streamed_lists: StreamedLists,
}

/// Follows the objects of one kind.
#[derive(Debug)]
pub(super) struct Reflector<T: Resource> {
    pub(super) client: ApiClient,
    pub(super) selector: Selector,
    pub(super) decoder: Decoder,
    events: mpsc::Sender<Event>,
    pub(super) backoff: Backoff,
    /// Delays lists that follow one another closely.
    pub(super) list_backoff: Backoff,
    pub(super) log: LogLimiter,
    /// Whether an empty list has been passed on because the server does not have this kind.
    pub(super) is_absent: bool,
    /// Keys of the objects that were passed on.
    known: HashSet<T::Key>,
    pub(super) position: Position,
    pub(super) streamed_lists: StreamedLists,
    pub(super) server_state: ServerState,
    /// The last attempt.
    pub(super) attempt: Attempt,
    /// Watches in a row that the server rejected or that ended at once.
    pub(super) short_watches: u32,
    /// Watches in a row that lasted and brought no event.
    pub(super) silent_watches: u32,
    /// Whether the log says that lists replace watches.
    pub(super) is_list_only_logged: bool,
    /// Whether to list although `position` is known, because watches may lose changes.
    pub(super) must_list: bool,
    /// Time of the last complete list.
    pub(super) last_list: Instant,
    /// Time of the last list or event.
    pub(super) last_received: Instant,
}

/// One attempt to get objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    List,
    /// A watch that the server has not accepted.
    WatchRequest,
    /// A watch that lasted this long after the server accepted it.
    Watch(Duration),
}

/// Whether to request streamed lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamedLists {
    Enabled,
    /// Not for the next list: the last attempt failed.
    Paused,
    /// Never: the configuration or the server does not allow them.
    Disabled,
}

impl<T: Resource> Reflector<T> {
    pub(super) fn new(context: &Context, selector: Selector) -> Self {
        let client = context.client.clone();
        let (now, backoff) = (Instant::now(), client.timing.backoff());
        let (server, metrics) = (Arc::clone(&client.server), Arc::clone(&client.metrics));
        Self {
            selector,
            decoder: Decoder::new(server, metrics, Arc::clone(&context.names)),
            events: context.events.clone(),
            list_backoff: backoff.clone(),
            backoff,
            log: if T::OPTIONAL {
                LogLimiter::new(OPTIONAL_LOG_PAUSE, OPTIONAL_LOG_PAUSE)
            } else {
                LogLimiter::default()
            },
            is_absent: false,
            known: HashSet::new(),
            position: Position::Start,
            streamed_lists: context.streamed_lists,
            server_state: ServerState::new(Arc::clone(&context.availability), client.timing),
            attempt: Attempt::List,
            short_watches: 0,
            silent_watches: 0,
            is_list_only_logged: false,
            must_list: false,
            last_list: now,
            last_received: now,
            client,
        }
    }

    /// Follows until the receiver of events is closed.
    pub(super) async fn run(mut self) {
        loop {
            let result = self.step().await;
            if self.events.is_closed() {
                return;
            }
            let Err(failure) = result else { continue };
            let wait = self.handle_failure(&failure).await;
            tokio::select! {
                () = self.server_state.wait(wait) => {}
                () = self.events.closed() => return,
            }
        }
    }

    /// Gets a list, or follows a watch to its end.
    async fn step(&mut self) -> Result<(), Failure> {
        match &self.position {
            Position::At(version) if !std::mem::take(&mut self.must_list) => {
                let query = self.selector.watch(version, self.client.watch_timeout());
                self.attempt = Attempt::WatchRequest;
                let watch = self.watch(&query).await?;
                self.run_watch(watch).await
            }
            // A streamed list is a watch, too.
            _ if self.streamed_lists == StreamedLists::Enabled && self.watches_work() => {
                self.streamed_list().await
            }
            _ => self.paged_list().await,
        }
    }

    /// Opens a watch.
    pub(super) async fn watch(&mut self, query: &str) -> Result<WatchStream, Failure> {
        let chunks = self.get(query, ReadVerb::Watch).await?;
        self.client.metrics.add(Count::Watches, 1);
        Ok(WatchStream::new(chunks))
    }

    /// Sends a request, and notes whether the server answers.
    pub(super) async fn get(&mut self, query: &str, verb: ReadVerb) -> Result<Chunks, Failure> {
        let result = self.client.get(T::PATH, query, verb).await;
        match &result {
            Err(Failure::Renewed) => {}
            Err(failure) if failure.is_outage() => self.server_state.unanswered(),
            _ => {
                if self.server_state.answered() {
                    self.backoff.reset();
                }
            }
        }
        result
    }

    /// Passes a complete list on and takes its version as position.
    pub(super) async fn deliver(
        &mut self,
        list: ListBuffer<T>,
        version: Option<String>,
    ) -> Result<(), Failure> {
        let version = version.ok_or_else(|| Failure::invalid("names no version"))?;
        for change in list.finish(&mut self.known) {
            self.send(change).await?;
        }
        self.client.metrics.add(Count::Lists, 1);
        self.last_list = Instant::now();
        self.last_received = self.last_list;
        self.must_list = false;
        self.position = Position::At(version);
        if self.streamed_lists == StreamedLists::Paused {
            self.streamed_lists = StreamedLists::Enabled;
        }
        self.log_list();
        Ok(())
    }

    /// Passes on the events of a watch until its regular end.
    pub(super) async fn run_watch(&mut self, watch: WatchStream) -> Result<(), Failure> {
        let (began, mut has_events) = (Instant::now(), false);
        let result = self.receive_events(watch, began, &mut has_events).await;
        let lasted = began.elapsed();
        self.attempt = Attempt::Watch(lasted);
        // The end says nothing about the server if this side closed the watch, or a list follows in any case.
        if !matches!(&result, Err(failure) if failure.is_expired() || matches!(failure, Failure::Renewed)) {
            self.note_watch_end(lasted >= STABLE, has_events);
        }
        result?;
        if lasted < STABLE {
            return Err(Failure::invalid("ended at once"));
        }
        self.backoff.reset();
        debug!(server = &*self.client.server, kind = T::KIND, "Watch ended; resuming it");
        Ok(())
    }

    /// Passes on the events of a watch that began at `began`. Sets `has_events` if there are any.
    async fn receive_events(
        &mut self,
        mut watch: WatchStream,
        began: Instant,
        has_events: &mut bool,
    ) -> Result<(), Failure> {
        let silence = self.client.timing.silence;
        // A watch without events proves itself by lasting.
        let mut time_limit = STABLE.min(silence);
        loop {
            match watch.next::<T>(&mut self.decoder, time_limit).await {
                Ok(Some(event)) => {
                    let version = match event {
                        WatchEvent::Object { object, version, .. } => {
                            self.send_object(object).await?;
                            version
                        }
                        WatchEvent::Bookmark { version, .. } => version,
                    };
                    if let Some(version) = version.filter(|version| !version.is_empty()) {
                        self.position = Position::At(version.into_owned());
                    }
                    *has_events = true;
                    self.last_received = Instant::now();
                }
                Ok(None) => return Ok(()),
                Err(Failure::Timeout(_)) if time_limit < silence => {}
                Err(failure) => return Err(failure),
            }
            if began.elapsed() >= STABLE {
                time_limit = silence;
                self.note_stable_watch(*has_events);
            }
        }
    }

    async fn send_object(&mut self, object: Decoded<T>) -> Result<(), Failure> {
        match object {
            Decoded::Present(object) => {
                self.known.insert(object.key().clone());
                self.send(Change::Applied(object)).await
            }
            Decoded::Absent(key) if self.known.remove(&key) => self.send(Change::Deleted(key)).await,
            Decoded::Absent(_) | Decoded::Malformed(_) => Ok(()),
        }
    }

    pub(super) async fn send(&self, change: Change<T>) -> Result<(), Failure> {
        self.client.metrics.add(Count::Events, 1);
        self.events.send((T::EVENT)(change)).await.or(Err(Failure::Closed))
    }
}
