//! Lists by a watch that begins with all objects and goes on from there (KEP-3157).

use tracing::debug;

use super::failure::Failure;
use super::follow::{Follower, Streaming};
use super::gather::Gathering;
use super::lines::{Line, Lines};
use super::watch::WatchEvent;
use crate::resource::Resource;

impl<T: Resource> Follower<T> {
    /// Lists by a watch that begins with all objects, and goes on with that watch.
    pub(super) async fn streamed_list(&mut self) -> Result<(), Failure> {
        let query = self.selection.streamed_list(self.last_known(), self.link.watch_time());
        let mut heard = false;
        let result = async {
            let mut lines = self.open(&query).await?;
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
            Err(failure) => self.without_streaming(failure, heard),
        }
    }

    /// Decides whether to list in pages because a streamed list failed.
    fn without_streaming(&mut self, failure: Failure, heard: bool) -> Result<(), Failure> {
        let (server, kind) = (&*self.link.server, T::KIND);
        match &failure {
            Failure::NobodyListens => Err(failure),
            _ if failure.is_expired() => Err(failure),
            // An error event of 500 is what a server sends whose storage lacks the feature.
            Failure::Refused(refusal) if refusal.is_about_the_request() || (heard && refusal.code == 500) => {
                debug!(server, kind, reason = %failure, "the API server cannot stream lists; using pages");
                self.streaming = Streaming::Never;
                Ok(())
            }
            _ if heard => {
                debug!(server, kind, reason = %failure, "a streamed list broke off; using pages this time");
                self.streaming = Streaming::NotNow;
                Err(failure)
            }
            _ => Err(failure),
        }
    }

    /// Collects the initial events of a watch; the list and its version.
    async fn gather(&mut self, lines: &mut Lines) -> Result<(Gathering<T>, String), Failure> {
        let mut gathering = Gathering::default();
        loop {
            let line = match lines.next(self.link.timing.answer).await? {
                Line::Whole(line) => line,
                Line::Rest(rest) => return Err(ended_early(&rest)),
            };
            let event = match WatchEvent::read(&line) {
                Ok(event) => event,
                Err(bad) => {
                    self.reader.tell_of_bad_line(T::KIND, &bad);
                    continue;
                }
            };
            match event {
                WatchEvent::Added(json) | WatchEvent::Modified(json) => {
                    let changed = matches!(event, WatchEvent::Modified(_));
                    gathering.collect(&mut self.reader, json, changed);
                }
                WatchEvent::Deleted(head) => {
                    let namespace = head.metadata.namespace.as_deref();
                    let key = head.metadata.name.as_deref().and_then(|name| T::key_of(namespace, name));
                    if let Some(key) = key {
                        gathering.change(key, None);
                    }
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
