//! Work that may block, beside the runtime: its only thread has watches, probes and signals to answer meanwhile.

use tokio::runtime::Handle;
use tokio::task::{JoinError, spawn_blocking};

/// Runs a future to its end on a thread of its own; what it opens belongs to this runtime.
///
/// # Errors
/// It panicked.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, JoinError> {
    let runtime = Handle::current();
    spawn_blocking(move || runtime.block_on(work)).await
}
