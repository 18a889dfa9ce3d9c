//! Measures what it costs that bytes go through a relay.
//!
//! ```text
//! cargo build --release --example relay_cost -p portolan-backend-userspace
//! target/release/examples/relay_cost            # throughput, latency and new connections, relayed and direct
//! target/release/examples/relay_cost idle 9000      # memory of so many connections on which nothing happens
//! target/release/examples/relay_cost services 8000  # a start with so many services
//! ```
//!
//! Client, endpoint and relay are a process each, on loopback addresses, so that no privilege is needed and all of
//! them share this machine's processors: a relay that takes as much as client and endpoint leaves them half.
//! Idle connections take a descriptor in the client, one in the endpoint and two in the relay. More of them than this
//! host's hard limit of descriptors allows are measured in a virtual machine, where root may raise it:
//!
//! ```text
//! cargo build -p portolan-tests-vm
//! program=$PWD/target/release/examples/relay_cost
//! target/debug/portolan-vm --memory 2048 --copy "$program" sh -c "ulimit -n 65536 && $program idle 10000"
//! ```

mod peers;
mod relay;

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use peers::Measured;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Where the endpoint listens, and where the relay does, by TCP and UDP.
const DIRECT: &str = "127.0.0.1:18080";
const RELAYED: &str = "127.80.80.80:18081";
/// How long each figure is measured.
const SPAN: Duration = Duration::from_secs(3);

fn main() -> Outcome<()> {
    // As the proxy does when it starts.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["endpoint"] => peers::serve(DIRECT.parse()?),
        ["relay"] => relay::serve(RELAYED.parse()?, DIRECT.parse()?),
        ["idle", count] => idle(count.parse()?),
        ["services", count] => relay::start_with(count.parse()?),
        [] => compare(),
        _ => Err("usage: relay_cost [idle COUNT | services COUNT]".into()),
    }
}

/// A process of this program in another role; it ends when its input does.
struct Role {
    child: Child,
    input: Option<ChildStdin>,
}

impl Role {
    /// Starts it and waits until it is ready, which it says by a line.
    #[expect(clippy::disallowed_methods, reason = "a relay is measured apart from its clients")]
    fn start(name: &str) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg(name).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut ready)?;
        if ready.trim() == "ready" {
            Ok(Self { child, input })
        } else {
            Err(format!("{name} did not start").into())
        }
    }

    fn usage(&self) -> Outcome<(f64, f64)> {
        usage(self.child.id())
    }
}

/// Resident memory and processor time used by a process, in MB and seconds.
fn usage(process: u32) -> Outcome<(f64, f64)> {
    const PAGE: f64 = 4096.0;
    /// `USER_HZ`, proc_pid_stat(5).
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |number: usize| -> Outcome<f64> { Ok(fields.get(number - 3).ok_or("short stat")?.parse()?) };
    Ok((field(24)? * PAGE / 1e6, (field(14)? + field(15)?) / TICKS))
}

impl Drop for Role {
    fn drop(&mut self) {
        drop(self.input.take());
        // It has ended or will; nothing is left to do about it.
        let _ = self.child.wait();
    }
}

/// Tells that this process is ready, and waits until its parent has had enough.
fn wait_for_the_end() -> Outcome<()> {
    writeln!(std::io::stdout(), "ready")?;
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}

fn compare() -> Outcome<()> {
    let (_endpoint, relay) = (Role::start("endpoint")?, Role::start("relay")?);
    let (direct, relayed): (SocketAddr, SocketAddr) = (DIRECT.parse()?, RELAYED.parse()?);
    let mut out = std::io::stdout().lock();
    writeln!(out, "| measured | direct | relayed | ratio | relay's processors |")?;
    writeln!(out, "|---|---|---|---|---|")?;
    for (what, measure) in peers::measurements() {
        // Warm, so that neither pays for being first.
        measure(direct, SPAN / 10)?;
        measure(relayed, SPAN / 10)?;
        let one = measure(direct, SPAN)?;
        let before = relay.usage()?.1;
        let other = measure(relayed, SPAN)?;
        let busy = (relay.usage()?.1 - before) / SPAN.as_secs_f64();
        let Measured { value, unit } = one;
        let ratio = other.value / value;
        writeln!(out, "| {what} | {value:.1} {unit} | {:.1} {unit} | {ratio:.2} | {busy:.2} |", other.value)?;
    }
    Ok(())
}

fn idle(count: usize) -> Outcome<()> {
    let (endpoint, relay) = (Role::start("endpoint")?, Role::start("relay")?);
    let mut out = std::io::stdout().lock();
    let (before, _) = relay.usage()?;
    let streams = peers::open(RELAYED.parse()?, count)?;
    std::thread::sleep(Duration::from_secs(1));
    let (held, busy) = relay.usage()?;
    std::thread::sleep(Duration::from_secs(5));
    let (later, busy_later) = relay.usage()?;
    drop(streams);
    std::thread::sleep(Duration::from_secs(2));
    let (after, _) = relay.usage()?;
    let each = (held - before) * 1e6 / f64::from(u32::try_from(count)?);
    writeln!(out, "{count} idle connections: {before:.1} MB before, {held:.1} MB with them, {later:.1} MB")?;
    writeln!(out, "five seconds later, {after:.1} MB after them; {each:.0} bytes each; processor time in")?;
    writeln!(out, "those five seconds {:.2} s", busy_later - busy)?;
    drop(endpoint);
    Ok(())
}
