//! Real threads.

use async_trait::async_trait;
use portolan_core::{ApplyReport, ChangeSet, IpFamily, NodeConfig, NodePlan, ProxyBackend, ProxyMode, State};
use portolan_testkit::objects::empty_lists;

use super::*;
use crate::tests::{Notes, error, settings};

/// Panics when it is to apply, or tells where it runs.
struct Backend {
    panics: bool,
    applied: mpsc::Sender<Option<String>>,
}

#[async_trait]
impl ProxyBackend for Backend {
    fn mode(&self) -> ProxyMode {
        ProxyMode::new("test")
    }

    async fn apply(&mut self, _: &NodePlan, _: &ChangeSet) -> Result<ApplyReport, BackendError> {
        assert!(!self.panics, "no {} here", "kernel");
        let thread = std::thread::current().name().map(str::to_owned);
        self.applied.send(thread).await.unwrap();
        Ok(ApplyReport::default())
    }

    async fn cleanup(&mut self) -> Result<(), BackendError> {
        Ok(())
    }
}

async fn start(panics: bool) -> (SyncThread, mpsc::Sender<Event>, mpsc::Receiver<Option<String>>) {
    let (events, receiver) = mpsc::channel(8);
    let (applied, calls) = mpsc::channel(8);
    let make = move || {
        let backend: Box<dyn ProxyBackend> = Box::new(Backend { panics, applied });
        let state = State::new(NodeConfig::new("n1"));
        Ok(SyncLoop::new(state, vec![(IpFamily::V4, backend)], &settings(), Box::new(Notes::default())))
    };
    let thread = SyncThread::start(make, receiver).unwrap();
    for event in empty_lists() {
        events.send(event).await.unwrap();
    }
    (thread, events, calls)
}

#[tokio::test]
async fn the_loop_runs_on_a_thread_of_its_own_until_it_is_stopped() {
    let (mut thread, _events, mut calls) = start(false).await;
    assert_eq!(calls.recv().await.unwrap().as_deref(), Some("sync"));
    thread.stop();
    assert_eq!(thread.ended().await.unwrap(), Stopped::Asked);
}

#[tokio::test]
async fn the_end_of_the_source_ends_the_loop() {
    let (mut thread, events, mut calls) = start(false).await;
    calls.recv().await.unwrap();
    drop(events);
    assert_eq!(thread.ended().await.unwrap(), Stopped::SourceEnded);
}

#[tokio::test]
async fn a_panic_in_the_loop_is_told_with_its_message() {
    let (mut thread, _events, _calls) = start(true).await;
    let error = thread.ended().await.unwrap_err();
    assert_eq!(error.to_string(), "the sync thread panicked: no kernel here");
}

#[tokio::test]
async fn a_backend_that_cannot_be_made_is_told() {
    let (_events, receiver) = mpsc::channel(8);
    let make = || Err(error(portolan_core::backend::Retry::Never));
    let mut thread = SyncThread::start(make, receiver).unwrap();
    assert!(matches!(thread.ended().await, Err(SyncThreadError::Backend { .. })));
}

#[tokio::test]
async fn a_dropped_handle_stops_the_loop() {
    let (thread, events, mut calls) = start(false).await;
    calls.recv().await.unwrap();
    drop(thread);
    events.closed().await;
}
