//! Log messages.

use std::io;
use std::sync::{Arc, Mutex};

use portolan_core::IpFamily::V4;
use portolan_core::backend::Retry;
use portolan_testkit::objects::empty_lists;
use tracing::Level;
use tracing::subscriber::DefaultGuard;

use super::rig::*;

/// Collects log lines for as long as it lives, on this thread.
#[derive(Clone, Default)]
pub(super) struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    pub(super) fn collect(level: Level) -> (Self, DefaultGuard) {
        let lines = Self::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .without_time()
            .with_target(false)
            .with_ansi(false)
            .with_max_level(level)
            .with_writer(move || writer.clone())
            .finish();
        (lines, tracing::subscriber::set_default(subscriber))
    }

    pub(super) fn take(&self) -> Vec<String> {
        let text = String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn failed_sync_is_logged_once_with_its_causes_and_so_is_the_recovery() {
    let mut rig = Rig::ready(&settings()).await;
    let (lines, _guard) = Lines::collect(Level::INFO);
    rig.script(V4, [Outcome::bad(Retry::SameChanges); 4]);
    rig.send([v4("a", 1)]).await;
    rig.pass(secs(60)).await;
    assert_eq!(
        lines.take(),
        [
            "ERROR Failed to sync rules; previous rules remain in effect ipFamily=IPv4 \
             err=\"table ip portolan belongs to another running process: no buffer space\" \
             retryAfter=100ms",
            "INFO Synced rules again after failures ipFamily=IPv4 failures=4 duration=1.5s",
            "INFO Synced rules ipFamily=IPv4 scope=Partial operations=1 transactions=1 \
             longestTransaction=0ns duration=0ns",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn initial_sync_is_logged_with_its_size_and_duration() {
    let (lines, _guard) = Lines::collect(Level::INFO);
    let _rig = Rig::ready(&settings()).await;
    let line = |family| {
        format!(
            "INFO Completed initial sync ipFamily={family} servicePorts=0 operations=1 transactions=1 \
             longestTransaction=0ns duration=0ns"
        )
    };
    assert_eq!(lines.take(), [line("IPv4"), line("IPv6")]);
}

#[tokio::test(start_paused = true)]
async fn another_error_is_logged_again() {
    let mut rig = Rig::ready(&settings()).await;
    let (lines, _guard) = Lines::collect(Level::ERROR);
    rig.script(
        V4,
        [Retry::SameChanges, Retry::CompareAll, Retry::CompareAll, Retry::Never].map(Outcome::bad),
    );
    rig.send([v4("a", 1)]).await;
    rig.pass(secs(60)).await;
    let lines = lines.take();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(
        lines[1].ends_with("the kernel refused to add map services: no buffer space\" retryAfter=200ms"),
        "{lines:#?}"
    );
    assert!(lines[2].ends_with("which this host does not offer\" retryAfter=30s"), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn address_conflict_is_logged_with_both_services() {
    let mut rig = Rig::ready(&settings()).await;
    let (lines, _guard) = Lines::collect(Level::WARN);
    rig.send([v4("a", 1), v4("b", 1), v4("c", 3)]).await;
    rig.pass(secs(1)).await;
    assert_eq!(
        lines.take(),
        [
            "WARN Services have the same address; only its owner is served address=tcp 10.96.0.1:80 addresses=1 \
             owner=ns/a ignored=ns/b"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_logged_with_the_number_of_service_ports() {
    let mut rig = Rig::new(&settings());
    let (lines, _guard) = Lines::collect(Level::TRACE);
    rig.send(empty_lists()).await;
    rig.send([v4("a", 1), v4("b", 2)]).await;
    rig.pass(secs(1)).await;
    rig.send([v4("c", 3)]).await;
    rig.pass(secs(1)).await;
    let syncing = lines.take().into_iter().filter(|line| line.contains("Syncing"));
    assert_eq!(
        syncing.collect::<Vec<_>>(),
        [
            "TRACE Syncing rules ipFamily=IPv4 scope=Full servicePorts=2",
            "TRACE Syncing rules ipFamily=IPv6 scope=Full servicePorts=0",
            "TRACE Syncing rules ipFamily=IPv4 scope=Partial servicePorts=1",
        ]
    );
}
