//! Lists: streamed by a watch that begins with all objects (KEP-3157), or in pages for servers that cannot stream.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use tokio::time::{Instant, timeout};
use tracing::{debug, info};

use super::client::ReadVerb;
use super::decode::{ListParser, WatchEvent, WatchStream};
use super::failure::Failure;
use super::list_buffer::ListBuffer;
use super::query::{Page, Position};
use super::reflector::{Attempt, Reflector, StreamedLists};
use crate::convert::Resource;

impl<T: Resource> Reflector<T> {
    /// Gets a streamed list and follows its watch.
    pub(super) async fn streamed_list(&mut self) -> Result<(), Failure> {
        let query = self.selector.streamed_list(&self.position, self.client.watch_timeout());
        self.attempt = Attempt::List;
        let mut is_accepted = false;
        let time_limit = self.client.timing.streamed_list;
        let result = async {
            let opened = timeout(time_limit, self.watch(&query)).await;
            let mut watch = opened.unwrap_or(Err(Failure::Timeout(time_limit)))?;
            is_accepted = true;
            let list = self.initial_events(&mut watch).await?;
            Ok((watch, list))
        }
        .await;
        match result {
            Ok((watch, (list, version))) => {
                self.deliver(list, version).await?;
                self.run_watch(watch).await
            }
            Err(failure) => {
                self.without_streaming(failure, is_accepted)?;
                self.paged_list().await
            }
        }
    }

    /// Decides whether to list in pages at once after a streamed list failed.
    ///
    /// # Errors
    /// The failure says nothing about streamed lists, or pages have to wait, too.
    fn without_streaming(&mut self, failure: Failure, is_accepted: bool) -> Result<(), Failure> {
        let (server, kind) = (&*self.client.server, T::KIND);
        match &failure {
            Failure::Closed | Failure::Credentials(_) | Failure::Renewed => return Err(failure),
            _ if failure.is_overload() || failure.is_status(401) => return Err(failure),
            _ if failure.is_expired() && matches!(self.position, Position::At(_)) => return Err(failure),
            // A server whose storage lacks the feature sends an error event of 500. 404 is also the answer of a server
            // that is still starting.
            Failure::Rejected(rejection)
                if rejection.is_about_the_request() && rejection.code != 404
                    || is_accepted && rejection.code == 500 =>
            {
                debug!(server, kind, err = %failure, "API server cannot stream lists; listing in pages");
                self.streamed_lists = StreamedLists::Disabled;
                return Ok(());
            }
            // Rights and proxies may allow lists and no watches.
            Failure::Rejected(_) if !failure.is_outage() => {
                debug!(server, kind, err = %failure, "Streamed list was rejected; listing in pages");
            }
            Failure::Timeout(waited) => info!(
                server,
                kind,
                ?waited,
                "Streamed list did not complete; listing in pages \
                 (the feature gate WatchListClient=false avoids the wait)"
            ),
            Failure::Rejected(_) | Failure::Connection(_) | Failure::Invalid(_) => {
                debug!(server, kind, err = %failure, "Streamed list failed; listing in pages next");
                self.streamed_lists = StreamedLists::Paused;
                return Err(failure);
            }
        }
        self.streamed_lists = StreamedLists::Paused;
        Ok(())
    }

    /// Collects the initial events of a watch. Returns the list and its version.
    async fn initial_events(
        &mut self,
        watch: &mut WatchStream,
    ) -> Result<(ListBuffer<T>, Option<String>), Failure> {
        let mut list = ListBuffer::default();
        let time_limit = self.client.timing.streamed_list;
        // Initial events come first, so at the first event of another type the end mark is due. A server that does not
        // know streamed lists continues with changes, and on a busy cluster is never silent.
        let mut deadline: Option<Instant> = None;
        loop {
            let left = deadline.map_or(time_limit, |end| end.saturating_duration_since(Instant::now()));
            let event = watch.next::<T>(&mut self.decoder, left.min(time_limit)).await?;
            let event = event.ok_or_else(|| Failure::invalid("ends in the middle of the list"))?;
            if !matches!(event, WatchEvent::Object { is_added: true, .. }) {
                deadline.get_or_insert_with(|| Instant::now() + time_limit);
            }
            match event {
                WatchEvent::Object { object, is_added, .. } => list.add(object, !is_added),
                WatchEvent::Bookmark { version, ends_initial_events: true } => {
                    return Ok((list, version.map(Into::into)));
                }
                WatchEvent::Bookmark { .. } => {}
            }
        }
    }

    /// Gets a list in pages.
    pub(super) async fn paged_list(&mut self) -> Result<(), Failure> {
        self.attempt = Attempt::List;
        let result = self.pages().await;
        if self.streamed_lists == StreamedLists::Paused && result.as_ref().is_err_and(Failure::is_outage) {
            // The outage was the reason for the failure of the streamed list as well.
            self.streamed_lists = StreamedLists::Enabled;
        }
        let (list, version) = result?;
        self.deliver(list, version).await
    }

    async fn pages(&mut self) -> Result<(ListBuffer<T>, Option<String>), Failure> {
        let mut list = ListBuffer::default();
        let query = self.selector.list(&Page::First(&self.position));
        let mut metadata = self.page(&query, &mut list).await?;
        while let Some(token) = metadata.continue_.take() {
            let query = self.selector.list(&Page::Next(&token));
            metadata = match self.page(&query, &mut list).await {
                Ok(next) if next.continue_.as_ref() == Some(&token) => {
                    return Err(Failure::invalid("is a page that leads to itself"));
                }
                Ok(next) => next,
                Err(failure) if failure.is_expired() => {
                    // The server forgets pages faster than they can be read. A single answer has no such limit.
                    let (server, kind) = (&*self.client.server, T::KIND);
                    debug!(server, kind, err = %failure, "Pages of the list expired; requesting it as a whole");
                    list = ListBuffer::default();
                    self.page(&self.selector.list(&Page::Whole), &mut list).await?
                }
                Err(failure) => return Err(failure),
            };
        }
        Ok((list, metadata.resource_version))
    }

    async fn page(&mut self, query: &str, list: &mut ListBuffer<T>) -> Result<ListMeta, Failure> {
        let mut chunks = self.get(query, ReadVerb::List).await?;
        let mut parser = ListParser::default();
        while let Some(chunk) = chunks.next(self.client.timing.answer).await? {
            parser.feed(&chunk, |json| {
                let (object, _) = self.decoder.object(json)?;
                list.add(object, false);
                Ok(())
            })?;
        }
        parser.finish()
    }
}
