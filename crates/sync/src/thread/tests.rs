//! Real threads.

use async_trait::async_trait;
use portolan_core::event::Change;
use portolan_core::flows::{FlowError, StaleFlow};
use portolan_core::{
    ApplyReport, ChangeSet, FlowCheck, FlowCleaner, IpFamily, NodeConfig, NodePlan, Protocol, ProxyBackend,
    ProxyMode, State,
};
use portolan_testkit::objects::{empty_lists, service};

use super::*;
use crate::tests::{Recorder, error, settings};

/// Panics when it applies, or reports its thread.
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
        // Not every test listens.
        let _ = self.applied.send(thread).await;
        Ok(ApplyReport::default())
    }

    async fn cleanup(&mut self) -> Result<(), BackendError> {
        Ok(())
    }
}

async fn start(panics: bool) -> (SyncThread, mpsc::Sender<Event>, mpsc::Receiver<Option<String>>) {
    start_with(panics, |sync_loop| sync_loop).await
}

async fn start_with(
    panics: bool,
    adapt: impl FnOnce(SyncLoop) -> SyncLoop + Send + 'static,
) -> (SyncThread, mpsc::Sender<Event>, mpsc::Receiver<Option<String>>) {
    let (events, receiver) = mpsc::channel(8);
    let (applied, calls) = mpsc::channel(8);
    let make = move || {
        let backend: Box<dyn ProxyBackend> = Box::new(Backend { panics, applied });
        let state = State::new(NodeConfig::new("n1"));
        let backends = vec![(IpFamily::V4, backend)];
        Ok(adapt(SyncLoop::new(state, backends, &settings(), Box::new(Recorder::default()))))
    };
    let thread = SyncThread::start(make, receiver).unwrap();
    // A UDP Service, because only its flows are searched.
    let dns = service("ns/dns", "10.96.0.10").port("", Protocol::Udp, 53).build();
    let [_, slices, nodes] = empty_lists();
    for event in [Event::Service(Change::Replaced(vec![dns])), slices, nodes] {
        events.send(event).await.unwrap();
    }
    (thread, events, calls)
}

#[tokio::test]
async fn loop_runs_on_the_sync_thread_until_it_is_stopped() {
    let (mut thread, _events, mut calls) = start(false).await;
    assert_eq!(calls.recv().await.unwrap().as_deref(), Some("sync"));
    thread.stop();
    assert_eq!(thread.ended().await.unwrap(), Stopped::Requested);
}

#[tokio::test]
async fn the_end_of_the_source_ends_the_loop() {
    let (mut thread, events, mut calls) = start(false).await;
    calls.recv().await.unwrap();
    drop(events);
    assert_eq!(thread.ended().await.unwrap(), Stopped::SourceEnded);
}

#[tokio::test]
async fn panic_in_the_loop_is_reported_with_its_message() {
    let (mut thread, _events, _calls) = start(true).await;
    let error = thread.ended().await.unwrap_err();
    assert_eq!(error.to_string(), "the sync thread panicked: no kernel here");
}

#[tokio::test]
async fn failed_creation_of_a_backend_is_reported() {
    let (_events, receiver) = mpsc::channel(8);
    let make = || Err(error(portolan_core::backend::Retry::Never));
    let mut thread = SyncThread::start(make, receiver).unwrap();
    assert!(matches!(thread.ended().await, Err(SyncThreadError::Backend { .. })));
}

/// Reports its thread, and then does what the script says.
struct Cleaner {
    began: mpsc::Sender<Option<String>>,
    proceed: std::sync::mpsc::Receiver<()>,
}

impl FlowCleaner for Cleaner {
    fn find_stale(&mut self, _: IpFamily, _: &FlowCheck) -> Result<Vec<StaleFlow>, FlowError> {
        self.began.blocking_send(std::thread::current().name().map(str::to_owned)).unwrap();
        // No sender is left when the test is over or wants a panic.
        self.proceed.recv().map(|()| Vec::new()).map_err(|error| panic!("no {error}"))
    }

    fn remove(&mut self, _: IpFamily, flows: &[StaleFlow]) -> Result<usize, FlowError> {
        Ok(flows.len())
    }
}

async fn start_searching() -> (SyncThread, mpsc::Sender<Event>, std::sync::mpsc::Sender<()>) {
    let (began, mut searches) = mpsc::channel(1);
    let (go, proceed) = std::sync::mpsc::channel();
    let cleaner = Box::new(Cleaner { began, proceed });
    let adapt = |sync_loop: SyncLoop| sync_loop.with_flow_cleaner(IpFamily::V4, cleaner);
    let (thread, events, _) = start_with(false, adapt).await;
    assert_eq!(searches.recv().await.unwrap().as_deref(), Some("flows"));
    (thread, events, go)
}

#[tokio::test]
async fn endless_search_for_flows_does_not_delay_the_end() {
    let (mut thread, _events, _go) = start_searching().await;
    thread.stop();
    assert_eq!(thread.ended().await.unwrap(), Stopped::Requested);
}

#[tokio::test]
async fn a_panic_in_a_search_for_flows_ends_the_loop() {
    let (mut thread, _events, go) = start_searching().await;
    drop(go);
    let error = thread.ended().await.unwrap_err();
    assert!(error.to_string().starts_with("the sync thread panicked: no receiving"), "{error}");
}

#[tokio::test]
async fn a_dropped_handle_stops_the_loop() {
    let (thread, events, mut calls) = start(false).await;
    calls.recv().await.unwrap();
    drop(thread);
    events.closed().await;
}
