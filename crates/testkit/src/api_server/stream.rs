//! Watches, with or without a streamed initial list.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::faults::{End, StreamedLists, WatchFault};
use super::list::{Gone, end_early, piecewise, push};
use super::query::{Filter, Query};
use super::respond::{Body, failure, with_body};
use super::store::{Kind, Stored, WatchEvent};
use super::{Shared, lock, status};

/// How long a watch lasts that does not say; a real server takes 30 to 60 minutes.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1800);

/// Pieces that may wait for a client.
const WAITING_PIECES: usize = 16;

/// Events sent as one piece.
const EVENTS_AT_ONCE: usize = 64;

/// Answers a watch.
pub(super) fn watch(
    shared: Arc<Shared>,
    kind: &'static Kind,
    query: &Query,
    filter: Filter,
) -> Response<Body> {
    let support = *lock(&shared.faults.streamed_lists);
    let wanted = query.is_true("sendInitialEvents");
    if wanted && support == StreamedLists::Forbidden {
        return failure(&status::streamed_lists_forbidden());
    }
    let fault = *lock(&shared.faults.watches);
    if let Some(WatchFault::Refused(code)) = fault {
        return failure(&status::refusal(code, kind.resource));
    }
    let (sender, pieces) = mpsc::channel(WAITING_PIECES);
    let start = match query.get("resourceVersion").map(str::parse::<u64>) {
        None | Some(Ok(0)) => Start::Now,
        Some(Ok(version)) => Start::After(version),
        Some(Err(_)) => return failure(&status::failure(400, "BadRequest", "resourceVersion is no number")),
    };
    let initial = match (wanted, support) {
        (true, StreamedLists::Supported) => Initial::WithEndMark,
        (true, StreamedLists::NoStorage) => Initial::Refused,
        _ => Initial::Plain,
    };
    let timeout = query.number("timeoutSeconds").map_or(DEFAULT_TIMEOUT, Duration::from_secs);
    let stream = Stream {
        kind,
        filter,
        bookmarks: query.is_true("allowWatchBookmarks"),
        end: Instant::now() + timeout,
        pieces: sender,
        fault,
        shared,
    };
    tokio::spawn(async move {
        match fault {
            Some(WatchFault::EndsAtOnce) => {}
            Some(WatchFault::Mute) => stream.pieces.closed().await,
            // An error is a client that went away.
            _ => drop(stream.run(start, initial).await),
        }
    });
    with_body(StatusCode::OK, piecewise(pieces))
}

/// Where a watch begins.
#[derive(Debug, Clone, Copy)]
enum Start {
    /// With all objects there are, then what happens.
    Now,
    /// With what happened after a version.
    After(u64),
}

/// What to do about a streamed initial list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Initial {
    /// Nothing special.
    Plain,
    /// Send it, and a bookmark that ends it.
    WithEndMark,
    /// Say that the storage cannot do it.
    Refused,
}

struct Stream {
    shared: Arc<Shared>,
    kind: &'static Kind,
    filter: Filter,
    bookmarks: bool,
    end: Instant,
    pieces: mpsc::Sender<io::Result<Bytes>>,
    fault: Option<WatchFault>,
}

impl Stream {
    async fn run(self, start: Start, initial: Initial) -> Result<(), Gone> {
        let version = match (initial, start) {
            (Initial::Refused, _) => return self.send_error(&status::no_streamed_lists()).await,
            (Initial::WithEndMark, _) | (Initial::Plain, Start::Now) => self.send_all(initial).await?,
            (Initial::Plain, Start::After(version)) => {
                let newest = lock(&self.shared.store).version();
                if version > newest {
                    return self.send_error(&status::version_too_large(version, newest)).await;
                }
                version
            }
        };
        let _present = Present::new(&self.shared, self.kind.resource);
        self.follow(version).await
    }

    /// Sends all objects; the version that they are of.
    async fn send_all(&self, initial: Initial) -> Result<u64, Gone> {
        let (version, objects) = {
            let store = lock(&self.shared.store);
            (store.version(), store.select(self.kind, |features| self.filter.selects(features)))
        };
        let mut left = lock(&self.shared.faults.break_after).take();
        for some in objects.chunks(if left.is_some() { 1 } else { EVENTS_AT_ONCE }) {
            if let Some((0, end)) = left {
                end_early(&self.pieces, end).await?;
                return Err(Gone);
            }
            left = left.map(|(left, end)| (left - 1, end));
            let mut lines = Vec::new();
            for stored in some {
                lines.extend_from_slice(&self.line("ADDED", stored, stored.version));
            }
            self.send_events(lines.into()).await?;
        }
        if initial == Initial::WithEndMark {
            self.send_bookmark(version, &json!({"k8s.io/initial-events-end": "true"})).await?;
        }
        Ok(version)
    }

    /// Sends what happens after `version`.
    async fn follow(&self, mut version: u64) -> Result<(), Gone> {
        let mut newest = self.shared.newest.subscribe();
        let mut every = self.shared.faults.bookmarks.subscribe();
        loop {
            let happened = {
                let store = lock(&self.shared.store);
                store.since(version).ok_or_else(|| status::watch_expired(version, store.version()))
            };
            match happened {
                Err(expired) => return self.send_error(&expired).await,
                Ok(happened) => {
                    if self.send_happenings(&happened).await?.is_break() {
                        return self.send_error(&status::watch_expired(version, version + 1)).await;
                    }
                    version = happened.last().map_or(version, |(at, _)| *at);
                }
            }
            let bookmark =
                every.borrow_and_update().filter(|_| self.bookmarks).map(|every| Instant::now() + every);
            tokio::select! {
                _ = newest.changed() => {}
                _ = every.changed() => {}
                () = sleep_until(bookmark.unwrap_or(self.end)), if bookmark.is_some_and(|at| at < self.end) => {
                    // A bookmark names the store's version, which may be past the last event of this kind.
                    version = version.max(self.quiet_version(version));
                    self.send_bookmark(version, &Value::Null).await?;
                }
                () = sleep_until(self.end) => return Ok(()),
                () = self.pieces.closed() => return Err(Gone),
            }
        }
    }

    /// The store's version, unless something happened since `version` that is yet to be sent.
    fn quiet_version(&self, version: u64) -> u64 {
        let store = lock(&self.shared.store);
        match store.since(version) {
            Some(happened) if happened.is_empty() => store.version(),
            _ => version,
        }
    }

    async fn send_happenings(
        &self,
        happened: &[(u64, WatchEvent)],
    ) -> Result<std::ops::ControlFlow<()>, Gone> {
        for some in happened.chunks(EVENTS_AT_ONCE) {
            let mut lines = Vec::new();
            for (version, happening) in some {
                match happening {
                    WatchEvent::Change { kind, before, after } if *kind == self.kind => {
                        lines.extend_from_slice(&self.change(*version, before.as_deref(), after.as_deref()));
                    }
                    WatchEvent::Line { resource, line } if resource == self.kind.resource => {
                        lines.extend_from_slice(line);
                    }
                    WatchEvent::Expiry => return Ok(std::ops::ControlFlow::Break(())),
                    _ => {}
                }
            }
            if !lines.is_empty() {
                self.send_events(lines.into()).await?;
            }
        }
        Ok(std::ops::ControlFlow::Continue(()))
    }

    /// Sends whole lines, or as much of them as a fault lets through.
    async fn send_events(&self, lines: Bytes) -> Result<(), Gone> {
        let first = lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |end| end + 1);
        let (length, end) = match self.fault {
            Some(WatchFault::BreaksInEvents) => (first / 2, End::Broken),
            Some(WatchFault::EndsAfterAnEvent) => (first, End::Orderly),
            _ => return push(&self.shared, &self.pieces, lines).await,
        };
        push(&self.shared, &self.pieces, lines.slice(..length)).await?;
        end_early(&self.pieces, end).await?;
        Err(Gone)
    }

    /// The event of a change for a client that sees only the selected objects.
    fn change(&self, version: u64, before: Option<&Stored>, after: Option<&Stored>) -> Vec<u8> {
        let selected = |stored: &&Stored| self.filter.selects(&stored.features);
        match (before.filter(selected), after.filter(selected)) {
            (None, Some(after)) => self.line("ADDED", after, version),
            (Some(_), Some(after)) => self.line("MODIFIED", after, version),
            (Some(before), None) => self.line("DELETED", before, version),
            (None, None) => Vec::new(),
        }
    }

    fn line(&self, event: &str, stored: &Stored, version: u64) -> Vec<u8> {
        let mut line = format!("{{\"type\":\"{event}\",\"object\":").into_bytes();
        line.extend_from_slice(&stored.full(self.kind, version));
        line.extend_from_slice(b"}\n");
        line
    }

    async fn send_bookmark(&self, version: u64, annotations: &Value) -> Result<(), Gone> {
        let mut metadata = json!({"resourceVersion": version.to_string()});
        if !annotations.is_null() {
            metadata["annotations"] = annotations.clone();
        }
        let mut object =
            json!({"kind": self.kind.name, "apiVersion": self.kind.api_version, "metadata": metadata});
        if self.kind.name == "EndpointSlice" {
            // A server's empty slice has no omitted lists.
            object["addressType"] = json!("");
            object["endpoints"] = Value::Null;
            object["ports"] = Value::Null;
        }
        let line = format!("{{\"type\":\"BOOKMARK\",\"object\":{object}}}\n");
        push(&self.shared, &self.pieces, line.into()).await
    }

    async fn send_error(&self, status: &Value) -> Result<(), Gone> {
        let line = format!("{{\"type\":\"ERROR\",\"object\":{status}}}\n");
        push(&self.shared, &self.pieces, line.into()).await
    }
}

/// Counts a watch for as long as it lasts.
struct Present<'a> {
    shared: &'a Shared,
    resource: &'static str,
}

impl<'a> Present<'a> {
    fn new(shared: &'a Shared, resource: &'static str) -> Self {
        shared.watchers.send_modify(|watchers| *watchers.entry(resource).or_default() += 1);
        Self { shared, resource }
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.shared.watchers.send_modify(|watchers| {
            if let Some(count) = watchers.get_mut(self.resource) {
                *count -= 1;
            }
        });
    }
}
