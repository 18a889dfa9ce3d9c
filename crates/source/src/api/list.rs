//! Lists in pages, for servers that cannot stream.

use tracing::debug;

use super::failure::Failure;
use super::follow::{Follower, Streaming, Tried};
use super::gather::Gathering;
use super::items::{ListMeta, Splitter};
use super::link::Answer;
use super::selection::Page;
use crate::resource::Resource;

impl<T: Resource> Follower<T> {
    /// Gets all pages and passes the list on.
    pub(super) async fn paged_list(&mut self) -> Result<(), Failure> {
        self.tried = Tried::List;
        match self.pages().await {
            Ok((gathering, version)) => self.deliver(gathering, version).await,
            Err(PageFailure::Token(failure)) => {
                // Pages cannot be had as fast as the server forgets them. One answer has no such limit.
                debug!(server = &*self.link.server, kind = T::KIND, reason = %failure, "the list's pages expired; asking for it whole");
                let mut gathering = Gathering::default();
                let meta = self.page(Page::Whole, &mut gathering).await?;
                self.deliver(gathering, version_of(meta)?).await
            }
            Err(PageFailure::Other(failure)) => {
                if failure.is_outage() && self.streaming == Streaming::NotNow {
                    // The server was away for the one as for the other.
                    self.streaming = Streaming::Try;
                }
                Err(failure)
            }
        }
    }

    async fn pages(&mut self) -> Result<(Gathering<T>, String), PageFailure> {
        let mut gathering = Gathering::default();
        let first = Page::First(self.last_known());
        let query = self.selection.list(&first);
        let mut meta = self.queried_page(&query, &mut gathering).await?;
        while let Some(token) = meta.token.take() {
            let next = self.page(Page::Next(&token), &mut gathering).await.map_err(|failure| {
                if failure.is_expired() { PageFailure::Token(failure) } else { PageFailure::Other(failure) }
            })?;
            if next.token.as_ref() == Some(&token) {
                return Err(Failure::garbled("is a page that leads to itself").into());
            }
            meta = next;
        }
        Ok((gathering, version_of(meta)?))
    }

    async fn page(&mut self, page: Page<'_>, gathering: &mut Gathering<T>) -> Result<ListMeta, Failure> {
        let query = self.selection.list(&page);
        self.queried_page(&query, gathering).await
    }

    async fn queried_page(&mut self, query: &str, gathering: &mut Gathering<T>) -> Result<ListMeta, Failure> {
        let mut pieces = self.get(query, Answer::Whole).await?;
        let mut splitter = Splitter::default();
        while let Some(piece) = pieces.next(self.link.timing.answer).await? {
            let mut collected = Ok(());
            splitter.feed(&piece, |json| {
                if collected.is_ok() {
                    collected = gathering.collect(&mut self.reader, json, false);
                }
            })?;
            collected?;
        }
        splitter.finish()
    }
}

/// Why pages were not to be had.
enum PageFailure {
    /// The token of a later page is too old.
    Token(Failure),
    /// Anything else.
    Other(Failure),
}

impl From<Failure> for PageFailure {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

fn version_of(meta: ListMeta) -> Result<String, Failure> {
    meta.version.ok_or_else(|| Failure::garbled("names no version"))
}
