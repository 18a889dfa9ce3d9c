//! Lists, in pages.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::json;
use tokio::sync::mpsc;

use super::faults::End;
use super::query::{Filter, Query};
use super::respond::{Body, failure, with_body};
use super::store::{Kind, Snapshot, Stored};
use super::{Shared, lock, status};

/// Bytes sent at a time: about what a socket takes.
const PIECE: usize = 64 << 10;

/// Pieces that may wait for a client.
const WAITING_PIECES: usize = 4;

/// Answers a list.
pub(super) fn list(
    shared: Arc<Shared>,
    kind: &'static Kind,
    query: &Query,
    filter: &Filter,
) -> Response<Body> {
    let page = match page(&shared, kind, query, filter) {
        Ok(page) => page,
        Err(status) => return failure(&status),
    };
    let (sender, pieces) = mpsc::channel(WAITING_PIECES);
    tokio::spawn(async move {
        // An error is a client that went away.
        let _ = page.send(&shared, kind, sender).await;
    });
    with_body(StatusCode::OK, piecewise(pieces))
}

/// A body whose pieces come through a channel.
pub(super) fn piecewise(pieces: mpsc::Receiver<io::Result<Bytes>>) -> Body {
    let frames = futures::stream::unfold(pieces, async |mut pieces| {
        let piece = pieces.recv().await?;
        Some((piece.map(Frame::data), pieces))
    });
    BodyExt::boxed(StreamBody::new(Box::pin(frames)))
}

/// One page of a list.
struct Page {
    snapshot: Snapshot,
    start: usize,
    end: usize,
    token: Option<String>,
}

fn page(shared: &Shared, kind: &Kind, query: &Query, filter: &Filter) -> Result<Page, serde_json::Value> {
    let mut store = lock(&shared.store);
    let (snapshot, start, known) = if let Some(token) = query.get("continue") {
        let parts =
            token.split_once('-').and_then(|(id, start)| Some((id.parse().ok()?, start.parse().ok()?)));
        let (id, start): (u64, usize) = parts.ok_or_else(status::continue_expired)?;
        (store.snapshot(id).ok_or_else(status::continue_expired)?, start, Some(id))
    } else {
        let wanted = query.number("resourceVersion").unwrap_or(0);
        if wanted > store.version() {
            return Err(status::version_too_large(wanted, store.version()));
        }
        let objects = store.select(kind, |features| filter.selects(features));
        (Arc::new((store.version(), objects)), 0, None)
    };
    let forced = shared.faults.page_limit.load(Ordering::Relaxed);
    let asked =
        query.number("limit").and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
    // A client that asks for no pages gets none, as from a real server.
    let limit = asked.map_or(usize::MAX, |asked| if forced > 0 { asked.min(forced) } else { asked });
    let end = start.saturating_add(limit).min(snapshot.1.len());
    let token = (end < snapshot.1.len()).then(|| {
        let id = known.unwrap_or_else(|| store.keep(Arc::clone(&snapshot)));
        let next = if shared.faults.repeat_pages.load(Ordering::Relaxed) { start } else { end };
        format!("{id}-{next}")
    });
    Ok(Page { snapshot, start, end, token })
}

impl Page {
    async fn send(
        self,
        shared: &Shared,
        kind: &Kind,
        pieces: mpsc::Sender<io::Result<Bytes>>,
    ) -> Result<(), Gone> {
        let mut metadata = json!({"resourceVersion": self.snapshot.0.to_string()});
        if let Some(token) = &self.token {
            metadata["continue"] = json!(token);
            metadata["remainingItemCount"] = json!(self.snapshot.1.len() - self.end);
        }
        let head = format!(
            "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\"items\":[",
            kind.name, kind.api_version
        );
        let mut piece = BytesMut::from(head.as_bytes());
        let mut left = lock(&shared.faults.break_after).take();
        for (index, stored) in self.objects().iter().enumerate() {
            if index > 0 {
                piece.extend_from_slice(b",");
            }
            if let Some((0, end)) = left {
                // Breaks off inside of an object, which is where it hurts most.
                piece.extend_from_slice(&stored.json[..stored.json.len() / 2]);
                push(shared, &pieces, piece.freeze()).await?;
                return end_early(&pieces, end).await;
            }
            left = left.map(|(left, end)| (left - 1, end));
            piece.extend_from_slice(&stored.json);
            if piece.len() >= PIECE {
                push(shared, &pieces, piece.split().freeze()).await?;
            }
        }
        piece.extend_from_slice(b"]}\n");
        push(shared, &pieces, piece.freeze()).await
    }

    fn objects(&self) -> &[Arc<Stored>] {
        &self.snapshot.1[self.start..self.end]
    }
}

/// Ends a body before its time.
pub(super) async fn end_early(pieces: &mpsc::Sender<io::Result<Bytes>>, end: End) -> Result<(), Gone> {
    match end {
        End::Broken => Ok(pieces.send(Err(io::ErrorKind::BrokenPipe.into())).await?),
        End::Orderly => Ok(()),
    }
}

/// The client closed the connection.
#[derive(Debug)]
pub(super) struct Gone;

impl<T> From<mpsc::error::SendError<T>> for Gone {
    fn from(_: mpsc::error::SendError<T>) -> Self {
        Self
    }
}

/// Sends one piece, as slowly as the switches say.
pub(super) async fn push(
    shared: &Shared,
    pieces: &mpsc::Sender<io::Result<Bytes>>,
    piece: Bytes,
) -> Result<(), Gone> {
    tokio::select! {
        () = shared.faults.hold_back() => {}
        () = pieces.closed() => return Err(Gone),
    }
    Ok(pieces.send(Ok(piece)).await?)
}
