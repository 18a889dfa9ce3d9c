//! The proxy in a thread of this test, and the pages that it serves.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use portolan::Modes;
use portolan_core::ProxyMode;

use crate::recorder::Recorder;

const PATIENCE: Duration = Duration::from_secs(30);

/// The proxy in a thread of this test.
pub(crate) struct Proxy {
    pub(crate) health: SocketAddr,
    pub(crate) metrics: SocketAddr,
    thread: JoinHandle<ExitCode>,
}

impl Proxy {
    /// Starts it for node `n1` with this flag besides.
    pub(crate) fn start(recorder: &Recorder, source: String) -> Self {
        let (health, metrics) = (free_address(), free_address());
        let args = [
            "--mode=recorder".to_owned(),
            "--hostname-override=n1".to_owned(),
            format!("--healthz-bind-address={health}"),
            format!("--metrics-bind-address={metrics}"),
            source,
        ];
        let recorder = recorder.clone();
        Self { health, metrics, thread: thread::spawn(move || run(&recorder, &args)) }
    }

    /// HTTP status of a page of the health server.
    pub(crate) fn status(&self, path: &str) -> Option<u16> {
        get(self.health, path).map(|(status, _)| status)
    }

    /// The metrics page; empty while there is none.
    pub(crate) fn page(&self) -> String {
        get(self.metrics, "/metrics").map(|(_, body)| body).unwrap_or_default()
    }

    /// Ends it as the kubelet does. Ends any other one in this process, too.
    pub(crate) fn terminate(self) -> ExitCode {
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM).unwrap();
        self.ended()
    }

    /// Waits until it has ended.
    pub(crate) fn ended(self) -> ExitCode {
        self.thread.join().unwrap()
    }
}

/// Runs the proxy to its end.
pub(crate) fn run(recorder: &Recorder, args: &[String]) -> ExitCode {
    let recorder = recorder.clone();
    let modes = Modes::none().with(ProxyMode::new("recorder"), move |_| recorder.clone());
    portolan::run(&modes, std::iter::once("portolan".into()).chain(args.iter().map(OsString::from)))
}

/// An address on loopback that was free a moment ago.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Status code and body, if somebody answers.
pub(crate) fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// Waits until something holds.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
