//! Lists by a watch that begins with all objects and goes on from there (KEP-3157).

use tokio::time::{Instant, timeout};
use tracing::{debug, info};

use super::failure::Failure;
use super::follow::{Follower, Position, Streaming, Tried};
use super::gather::Gathering;
use super::lines::{Line, Lines};
use super::watch::WatchEvent;
use crate::resource::Resource;

impl<T: Resource> Follower<T> {
    /// Lists by a watch that begins with all objects, and goes on with that watch.
    pub(super) async fn streamed_list(&mut self) -> Result<(), Failure> {
        let query = self.selection.streamed_list(self.last_known(), self.link.watch_time());
        self.tried = Tried::List;
        let mut heard = false;
        let patience = self.link.timing.streamed_list;
        let result = async {
            let opened = timeout(patience, self.open(&query)).await;
            let mut lines = opened.unwrap_or(Err(Failure::Silent { waited: patience }))?;
            heard = true;
            let gathering = self.gather(&mut lines).await?;
            Ok((lines, gathering))
        }
        .await;
        match result {
            Ok((lines, (gathering, version))) => {
                self.deliver(gathering, version).await?;
                self.follow(lines).await
            }
            Err(failure) => {
                self.without_streaming(failure, heard)?;
                self.paged_list().await
            }
        }
    }

    /// Decides whether to list in pages at once because a streamed list failed.
    ///
    /// # Errors
    /// The failure says nothing about streamed lists, or pages should wait, too.
    fn without_streaming(&mut self, failure: Failure, heard: bool) -> Result<(), Failure> {
        let (server, kind) = (&*self.link.server, T::KIND);
        match &failure {
            Failure::NobodyListens | Failure::Credentials { .. } | Failure::Renewed => Err(failure),
            _ if failure.is_overload() => Err(failure),
            _ if failure.is_expired() && matches!(self.position, Position::At(_)) => Err(failure),
            Failure::Refused(refusal) if refusal.code == 401 => Err(failure),
            // An error event of 500 is what a server sends whose storage lacks the feature. 404 is also what a server
            // says that is still starting.
            Failure::Refused(refusal)
                if refusal.is_about_the_request() && refusal.code != 404 || heard && refusal.code == 500 =>
            {
                debug!(server, kind, reason = %failure, "The API server cannot stream lists; listing in pages");
                self.streaming = Streaming::Never;
                Ok(())
            }
            // Rights and proxies may allow lists and no watches.
            Failure::Refused(_) if !failure.is_outage() => {
                debug!(server, kind, reason = %failure, "A streamed list was rejected; listing in pages");
                self.streaming = Streaming::NotNow;
                Ok(())
            }
            Failure::Silent { waited } => {
                info!(
                    server,
                    kind,
                    ?waited,
                    "A streamed list does not come to its end; listing in pages \
                     (the feature gate WatchListClient=false avoids the wait)"
                );
                self.streaming = Streaming::NotNow;
                Ok(())
            }
            Failure::Refused(_) | Failure::Connection { .. } | Failure::Garbled { .. } => {
                debug!(server, kind, reason = %failure, "A streamed list failed; listing in pages next");
                self.streaming = Streaming::NotNow;
                Err(failure)
            }
        }
    }

    /// Collects the initial events of a watch; the list and its version.
    async fn gather(&mut self, lines: &mut Lines) -> Result<(Gathering<T>, String), Failure> {
        let mut gathering = Gathering::default();
        let patience = self.link.timing.streamed_list;
        // Servers begin with all objects, so what is no such event comes after them, and the end mark is due. A server
        // that does not know streamed lists goes on with changes, and on a busy cluster it is never silent.
        let mut due = None;
        loop {
            let left = due
                .map_or(patience, |due: Instant| patience.min(due.saturating_duration_since(Instant::now())));
            let line = match lines.next(left).await? {
                Line::Whole(line) if line.trim_ascii().is_empty() => continue,
                Line::Whole(line) => line,
                Line::Rest(rest) => return Err(ended_early(&rest)),
            };
            let event = WatchEvent::read(&line)?;
            if !matches!(event, WatchEvent::Added(_)) {
                due.get_or_insert_with(|| Instant::now() + patience);
            }
            match event {
                WatchEvent::Added(json) | WatchEvent::Modified(json) => {
                    let changed = matches!(event, WatchEvent::Modified(_));
                    gathering.collect(&mut self.reader, json, changed)?;
                }
                WatchEvent::Deleted(head) => {
                    let namespace = head.metadata.namespace.as_deref();
                    let key = head.metadata.name.as_deref().and_then(|name| T::key_of(namespace, name));
                    let key = key.ok_or_else(|| Failure::garbled("has an event without an object"))?;
                    gathering.change(key, None);
                }
                WatchEvent::Bookmark { version, ends_initial_events: true } => {
                    let version = version.ok_or_else(|| Failure::garbled("names no version"))?;
                    return Ok((gathering, (*version).to_owned()));
                }
                WatchEvent::Bookmark { .. } => {}
                WatchEvent::Error(refusal) => return Err(Failure::Refused(refusal)),
            }
        }
    }
}

/// The stream of initial events is over, and the list is not.
fn ended_early(rest: &[u8]) -> Failure {
    match WatchEvent::read(rest) {
        Ok(WatchEvent::Error(refusal)) => Failure::Refused(refusal),
        _ => Failure::garbled("ends in the middle of the list"),
    }
}
