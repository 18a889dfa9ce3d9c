//! What the log says.

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
async fn a_problem_is_logged_once_with_its_causes_and_what_follows_and_so_is_its_end() {
    let mut rig = Rig::ready(&settings()).await;
    let (lines, _guard) = Lines::collect(Level::INFO);
    rig.script(V4, [Outcome::bad(Retry::SameChanges); 4]);
    rig.send([v4("a", 1)]).await;
    rig.pass(secs(60)).await;
    assert_eq!(
        lines.take(),
        [
            "ERROR rules do not follow, and stay as they are family=IPv4 \
             err=\"table ip portolan belongs to another running process: no buffer space\" \
             attempt=1 next=\"try again\" wait=100ms",
            "INFO rules follow again family=IPv4 failures=4 lasted=1.5s",
            "INFO rules are up to date family=IPv4 scope=Partial operations=1 transactions=1 \
             longest_transaction=0ns took=0ns",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_first_load_is_logged_with_what_it_took() {
    let (lines, _guard) = Lines::collect(Level::INFO);
    let _rig = Rig::ready(&settings()).await;
    let line = |family| {
        format!(
            "INFO rules are in force family={family} service_ports=0 operations=1 transactions=1 \
             longest_transaction=0ns took=0ns"
        )
    };
    assert_eq!(lines.take(), [line("IPv4"), line("IPv6")]);
}

#[tokio::test(start_paused = true)]
async fn another_problem_is_logged_again() {
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
        lines[1].contains("the kernel refused to add map services: no buffer space\" attempt=2"),
        "{lines:#?}"
    );
    assert!(lines[1].ends_with("next=\"compare everything and try again\" wait=200ms"), "{lines:#?}");
    assert!(lines[2].ends_with("attempt=4 next=\"see whether the host has changed\" wait=30s"), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_contested_address_is_logged_with_both_services() {
    let mut rig = Rig::ready(&settings()).await;
    let (lines, _guard) = Lines::collect(Level::WARN);
    rig.send([v4("a", 1), v4("b", 1), v4("c", 3)]).await;
    rig.pass(secs(1)).await;
    assert_eq!(
        lines.take(),
        [
            "WARN two Services claim one address address=tcp 10.96.0.1:80 addresses=1 answers=ns/a ignored=ns/b"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn applying_is_logged_with_the_service_ports_that_are_compared() {
    let mut rig = Rig::new(&settings());
    let (lines, _guard) = Lines::collect(Level::TRACE);
    rig.send(empty_lists()).await;
    rig.send([v4("a", 1), v4("b", 2)]).await;
    rig.pass(secs(1)).await;
    rig.send([v4("c", 3)]).await;
    rig.pass(secs(1)).await;
    let applying = lines.take().into_iter().filter(|line| line.contains("applying"));
    assert_eq!(
        applying.collect::<Vec<_>>(),
        [
            "TRACE applying family=IPv4 scope=Full service_ports=2",
            "TRACE applying family=IPv6 scope=Full service_ports=0",
            "TRACE applying family=IPv4 scope=Partial service_ports=1",
        ]
    );
}
