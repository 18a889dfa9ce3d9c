//! Follows one kind of object for as long as somebody listens.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portolan_core::Event;
use portolan_core::event::Change;
use portolan_core::name::Interner;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::debug;

use super::backoff::Backoff;
use super::failure::Failure;
use super::gather::Gathering;
use super::lines::{Line, Lines};
use super::link::{Answer, Link, Pieces};
use super::presence::Contact;
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
    /// Waits before lists that follow one another closely.
    pub(super) relist: Backoff,
    pub(super) telling: Telling,
    /// Whether it has been passed on that the server does not have this kind.
    pub(super) absent: bool,
    /// Keys of the objects that were passed on.
    known: HashSet<T::Key>,
    pub(super) position: Position,
    pub(super) streaming: Streaming,
    pub(super) contact: Contact,
    /// What the last step tried.
    pub(super) tried: Tried,
    /// Watches in a row that the server rejected or that ended at once.
    pub(super) hasty: u32,
    /// Watches in a row that lasted and brought no event.
    pub(super) mute: u32,
    /// Whether the log says that lists replace watches.
    pub(super) only_lists: bool,
    /// Whether to list though `position` is known, because watches are of no use.
    pub(super) doubtful: bool,
    /// When a list was completed.
    pub(super) listed: Instant,
    /// When a list or an event last came.
    pub(super) heard: Instant,
}

/// What a step tried last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    /// A list.
    List,
    /// A watch that was not accepted.
    Open,
    /// A watch that lasted this long after it was accepted.
    Watch(Duration),
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
        contact: Contact,
        streaming: Streaming,
    ) -> Self {
        let now = Instant::now();
        let backoff = Backoff::new(link.timing.first_retry, link.timing.last_retry);
        Self {
            relist: backoff.clone(),
            backoff,
            telling: if T::OPTIONAL { Telling::rarely() } else { Telling::default() },
            absent: false,
            reader: Reader::new(&link, names),
            known: HashSet::new(),
            position: Position::Start,
            streaming,
            contact,
            tried: Tried::List,
            hasty: 0,
            mute: 0,
            only_lists: false,
            doubtful: false,
            listed: now,
            heard: now,
            link,
            selection,
            events,
        }
    }

    /// Follows until nobody listens.
    pub(super) async fn run(mut self) {
        loop {
            let result = self.step().await;
            if self.events.is_closed() {
                return;
            }
            let wait = match result {
                Ok(()) => continue,
                Err(failure) => self.wait_after(&failure).await,
            };
            tokio::select! {
                () = self.contact.wait(wait) => {}
                () = self.events.closed() => return,
            }
        }
    }

    /// Gets a list, or follows a watch to its end.
    async fn step(&mut self) -> Result<(), Failure> {
        match &self.position {
            Position::At(version) if !std::mem::take(&mut self.doubtful) => {
                let query = self.selection.watch(version, self.link.watch_time());
                self.tried = Tried::Open;
                let lines = self.open(&query).await?;
                self.follow(lines).await
            }
            // A streamed list is a watch, too.
            _ if self.streaming == Streaming::Try && self.watches_work() => self.streamed_list().await,
            _ => self.paged_list().await,
        }
    }

    pub(super) async fn open(&mut self, query: &str) -> Result<Lines, Failure> {
        let pieces = self.get(query, Answer::Stream).await?;
        self.link.metrics.add(Count::Watches, 1);
        Ok(Lines::new(pieces))
    }

    /// Sends a request, and takes in whether the server is there.
    pub(super) async fn get(&mut self, query: &str, answer: Answer) -> Result<Pieces, Failure> {
        let result = self.link.get(T::PATH, query, answer).await;
        match &result {
            Err(Failure::Renewed) => {}
            Err(failure) if failure.is_outage() => self.contact.missed(),
            _ => {
                if self.contact.answered() {
                    self.backoff.succeed();
                }
            }
        }
        result
    }

    /// Passes a complete list on and goes to its version.
    pub(super) async fn deliver(&mut self, gathering: Gathering<T>, version: String) -> Result<(), Failure> {
        let changes = gathering.finish(&mut self.known);
        for change in changes {
            self.send(change).await?;
        }
        self.link.metrics.add(Count::Lists, 1);
        self.listed = Instant::now();
        self.heard = self.listed;
        self.doubtful = false;
        self.position = Position::At(version);
        if self.streaming == Streaming::NotNow {
            self.streaming = Streaming::Try;
        }
        self.listed_again();
        Ok(())
    }

    /// Passes on what a watch tells, until it ends in good order.
    pub(super) async fn follow(&mut self, lines: Lines) -> Result<(), Failure> {
        let (began, mut heard) = (Instant::now(), false);
        let result = self.take_lines(lines, began, &mut heard).await;
        let lasted = began.elapsed();
        self.tried = Tried::Watch(lasted);
        // That it ended says nothing of the server where we closed it, or must list anyway.
        if !matches!(&result, Err(failure) if failure.is_expired() || matches!(failure, Failure::Renewed)) {
            self.judge_watch(lasted >= SOUND, heard);
        }
        result?;
        if lasted < SOUND {
            return Err(Failure::garbled("ended at once"));
        }
        self.backoff.succeed();
        debug!(server = &*self.link.server, kind = T::KIND, "the watch ended; resuming it");
        Ok(())
    }

    /// Takes in the lines of a watch that `began` then; `heard` whether there were any.
    async fn take_lines(
        &mut self,
        mut lines: Lines,
        began: Instant,
        heard: &mut bool,
    ) -> Result<(), Failure> {
        let silence = self.link.timing.silence;
        // A watch without events proves itself by lasting.
        let mut patience = SOUND.min(silence);
        loop {
            match lines.next(patience).await {
                Ok(Line::Whole(line)) if line.trim_ascii().is_empty() => {}
                Ok(Line::Whole(line)) => {
                    self.take(&line).await?;
                    *heard = true;
                    self.heard = Instant::now();
                }
                // Servers end every line; a rest is the front of one that broke off, and resuming brings it
                // again. Only an error would not come again.
                Ok(Line::Rest(rest)) => match WatchEvent::read(&rest) {
                    Ok(WatchEvent::Error(refusal)) => return Err(Failure::Refused(refusal)),
                    _ => return Ok(()),
                },
                Err(Failure::Silent { .. }) if patience < silence => {}
                Err(failure) => return Err(failure),
            }
            if began.elapsed() >= SOUND {
                patience = silence;
                self.trust_watch(*heard);
            }
        }
    }

    /// Takes in one line of a watch.
    async fn take(&mut self, line: &[u8]) -> Result<(), Failure> {
        match WatchEvent::read(line)? {
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
                Err(malformed) if malformed.name.name.is_some() => {
                    self.advance(malformed.name.version.as_deref());
                }
                Err(_) => return Err(Failure::garbled("has an event without an object")),
            },
            WatchEvent::Deleted(head) => {
                let namespace = head.metadata.namespace.as_deref();
                let key = head.metadata.name.as_deref().and_then(|name| T::key_of(namespace, name));
                self.forget(key.ok_or_else(|| Failure::garbled("has an event without an object"))?).await?;
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
