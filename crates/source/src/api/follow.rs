//! Follows one kind of object for as long as somebody listens.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use portolan_core::Event;
use portolan_core::event::Change;
use portolan_core::name::Interner;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::backoff::Backoff;
use super::failure::Failure;
use super::gather::Gathering;
use super::lines::{Line, Lines};
use super::link::{Answer, Link};
use super::reader::Reader;
use super::selection::{Known, Selection};
use super::setback::SOUND;
use super::telling::Telling;
use super::watch::WatchEvent;
use crate::convert::Converted;
use crate::metrics::Count;
use crate::resource::Resource;

/// Follows the objects of one kind.
#[derive(Debug)]
pub(super) struct Follower<T: Resource> {
    pub(super) link: Link,
    pub(super) selection: Selection,
    pub(super) reader: Reader,
    events: mpsc::Sender<Event>,
    pub(super) backoff: Backoff,
    pub(super) telling: Telling,
    /// Whether it has been passed on that the server does not have this kind.
    pub(super) absent: bool,
    /// Keys of the objects that were passed on.
    known: HashSet<T::Key>,
    pub(super) position: Position,
    pub(super) streaming: Streaming,
}

/// How far we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Position {
    /// No list has been passed on.
    Start,
    /// All up to this version has been passed on.
    At(String),
    /// What was passed on is so old that the server cannot tell what came after it.
    Expired,
}

/// Whether to ask for streamed lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Streaming {
    /// Yes.
    Try,
    /// Not for the next list: the last try failed, for whatever reason.
    NotNow,
    /// The server cannot do it.
    Never,
}

impl<T: Resource> Follower<T> {
    pub(super) fn new(
        link: Link,
        selection: Selection,
        names: Arc<Mutex<Interner>>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        Self {
            backoff: Backoff::new(link.timing.first_retry, link.timing.last_retry),
            telling: if T::OPTIONAL { Telling::rarely() } else { Telling::default() },
            absent: false,
            reader: Reader::new(&link, names),
            known: HashSet::new(),
            position: Position::Start,
            streaming: Streaming::Try,
            link,
            selection,
            events,
        }
    }

    /// Follows until nobody listens.
    pub(super) async fn run(mut self) {
        loop {
            let began = Instant::now();
            let result = self.step().await;
            if self.events.is_closed() {
                return;
            }
            let wait = match result {
                Ok(()) => continue,
                Err(failure) => self.wait_after(&failure, began.elapsed()).await,
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = self.events.closed() => return,
            }
        }
    }

    /// Gets a list, or follows a watch to its end.
    async fn step(&mut self) -> Result<(), Failure> {
        match &self.position {
            Position::At(version) => {
                let query = self.selection.watch(version, self.link.watch_time());
                let lines = self.open(&query).await?;
                self.recovered();
                self.follow(lines).await
            }
            Position::Start | Position::Expired if self.streaming == Streaming::Try => {
                self.streamed_list().await
            }
            Position::Start | Position::Expired => self.paged_list().await,
        }
    }

    pub(super) async fn open(&self, query: &str) -> Result<Lines, Failure> {
        let pieces = self.link.get(T::PATH, query, Answer::Stream).await?;
        self.link.metrics.add(Count::Watches, 1);
        Ok(Lines::new(pieces))
    }

    /// Passes a complete list on and goes to its version.
    pub(super) async fn deliver(&mut self, gathering: Gathering<T>, version: String) -> Result<(), Failure> {
        let changes = gathering.finish(&mut self.known);
        for change in changes {
            self.send(change).await?;
        }
        self.link.metrics.add(Count::Lists, 1);
        self.recovered();
        self.position = Position::At(version);
        if self.streaming == Streaming::NotNow {
            self.streaming = Streaming::Try;
        }
        Ok(())
    }

    /// Passes on what a watch tells, until it ends in good order.
    pub(super) async fn follow(&mut self, mut lines: Lines) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            match lines.next(self.link.timing.silence).await? {
                Line::Whole(line) => self.take(&line).await?,
                Line::Rest(rest) => {
                    // Servers end every line; a rest is the front of one that broke off, and resuming brings it
                    // again. Only an error would not come again.
                    if let Ok(WatchEvent::Error(refusal)) = WatchEvent::read(&rest) {
                        return Err(Failure::Refused(refusal));
                    }
                    if began.elapsed() < SOUND {
                        return Err(Failure::garbled("ended at once"));
                    }
                    self.backoff.succeed();
                    debug!(server = &*self.link.server, kind = T::KIND, "the watch ended; resuming it");
                    return Ok(());
                }
            }
        }
    }

    /// Takes in one line of a watch.
    async fn take(&mut self, line: &[u8]) -> Result<(), Failure> {
        let event = match WatchEvent::read(line) {
            Ok(event) => event,
            Err(bad) => {
                self.reader.tell_of_bad_line(T::KIND, &bad);
                return Ok(());
            }
        };
        match event {
            WatchEvent::Added(json) | WatchEvent::Modified(json) => match self.reader.read::<T>(json) {
                Ok((Converted::Proxied(object), version)) => {
                    self.known.insert(object.key().clone());
                    self.send(Change::Applied(object)).await?;
                    self.advance(version.as_deref());
                }
                Ok((Converted::NotProxied(key), version)) => {
                    self.forget(key).await?;
                    self.advance(version.as_deref());
                }
                // What was known of it stays in force.
                Err(malformed) => self.advance(malformed.name.version.as_deref()),
            },
            WatchEvent::Deleted(head) => {
                let namespace = head.metadata.namespace.as_deref();
                if let Some(key) = head.metadata.name.as_deref().and_then(|name| T::key_of(namespace, name)) {
                    self.forget(key).await?;
                }
                self.advance(head.metadata.resource_version.as_deref());
            }
            WatchEvent::Bookmark { version, .. } => self.advance(version.as_deref()),
            WatchEvent::Error(refusal) => return Err(Failure::Refused(refusal)),
        }
        Ok(())
    }

    /// Passes on that an object is gone, if it was ever there.
    async fn forget(&mut self, key: T::Key) -> Result<(), Failure> {
        if self.known.remove(&key) { self.send(Change::Deleted(key)).await } else { Ok(()) }
    }

    pub(super) async fn send(&self, change: Change<T>) -> Result<(), Failure> {
        self.link.metrics.add(Count::Events, 1);
        self.events.send(T::event(change)).await.or(Err(Failure::NobodyListens))
    }

    fn advance(&mut self, version: Option<&str>) {
        if let (Some(version), Position::At(at)) =
            (version.filter(|version| !version.is_empty()), &mut self.position)
        {
            version.clone_into(at);
        }
    }

    /// What a new list may build on.
    pub(super) fn last_known(&self) -> Known<'_> {
        match &self.position {
            Position::Start => Known::Nothing,
            Position::At(version) => Known::Version(version),
            Position::Expired => Known::Useless,
        }
    }
}
