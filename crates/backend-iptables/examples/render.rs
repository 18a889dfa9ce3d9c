//! How long the backend itself takes to find and write the rules of many Services, and how much memory.
//!
//! ```text
//! cargo run --release -p portolan-backend-iptables --example render -- 10000 2 legacy
//! ```
//!
//! syncs that many Services with that many endpoints each to tables that discard what they get, and then changes
//! single ones. Nothing is loaded into the kernel. `legacy` sends inputs of the size that iptables-legacy gets,
//! else of the size that iptables-nft gets.

#![expect(clippy::print_stdout, reason = "an example that measures prints what it measured")]

use std::error::Error;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::time::Instant;
use std::{env, fs};

use portolan_backend_iptables::IptablesBackend;
use portolan_backend_iptables::options::Options;
use portolan_backend_iptables::programs::ProgramError;
use portolan_backend_iptables::tables::Tables;
use portolan_core::Protocol::Tcp;
use portolan_core::event::{Change, Event};
use portolan_core::{BackendError, IpFamily, NodeConfig, ObjectName};
use portolan_testkit::Process;
use portolan_testkit::objects::{service, slice};

/// How many external IPs the Service has whose lines are inserted and deleted at once.
const EXTERNAL_IPS: u32 = 2_000;

/// Tables that are empty whenever they are read.
struct Discard {
    chains_at_once: usize,
}

impl Tables for Discard {
    fn save(&mut self, _: &mut dyn FnMut(&str)) -> Result<(), ProgramError> {
        Ok(())
    }

    fn restore(
        &mut self,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), ProgramError> {
        write(&mut io::sink())
            .map_err(|source| ProgramError::Run { program: "iptables-restore".into(), source })
    }

    fn clean(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    fn chains_at_once(&self) -> usize {
        self.chains_at_once
    }
}

/// Syncs what is new and prints the time and the memory that it took.
fn sync(process: &mut Process<IptablesBackend<Discard>>, what: &str) -> Result<(), Box<dyn Error>> {
    process.state.prepare();
    let before = memory()?;
    fs::write("/proc/self/clear_refs", "5")?; // Starts VmHWM anew (proc(5)).
    let start = Instant::now();
    let report = process.try_apply(IpFamily::V4)?;
    let time = start.elapsed();
    let after = memory()?;
    println!(
        "{what}: {time:.1?}, {} inputs, {} lines, {} bytes; resident {} kB, {} kB while syncing, {} kB after",
        report.transactions, report.messages, report.bytes, before.0, after.1, after.0
    );
    Ok(())
}

/// Resident memory and the most that it was, in kB.
fn memory() -> Result<(u64, u64), Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let field = |name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse()
    };
    Ok((field("VmRSS:")?, field("VmHWM:")?))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let services: u32 = arguments.next().map_or(Ok(10_000), |text| text.parse())?;
    let endpoints: u32 = arguments.next().map_or(Ok(2), |text| text.parse())?;
    let is_legacy = arguments.next().as_deref() == Some("legacy");
    let chains_at_once = if is_legacy { usize::MAX } else { 1_200 };
    let backend = |family| IptablesBackend::new(family, Discard { chains_at_once }, Options::default());
    let objects = (0..services).flat_map(|number| objects(number, endpoints, 0));
    let mut process = Process::start(NodeConfig::new("n1"), objects, backend);
    sync(&mut process, "initial sync")?;
    process.handle(self::objects(services / 2, endpoints, 1));
    sync(&mut process, "one endpoint replaced")?;
    process.handle(with_external_ips());
    sync(&mut process, &format!("a Service with {EXTERNAL_IPS} external IPs"))?;
    process.handle([Event::Service(Change::Deleted(ObjectName::new("default", "external")))]);
    sync(&mut process, "that Service removed")?;
    process.forget_applied();
    sync(&mut process, "full sync")
}

/// A Service; its first endpoint differs by `version`.
fn objects(number: u32, endpoints: u32, version: u32) -> [Event; 2] {
    let name = format!("default/service-{number}");
    let pods = slice(&format!("{name}-1"), &format!("service-{number}")).port("http", Tcp, 8080);
    let pods = (0..endpoints).fold(pods, |slice, index| {
        let net = if index == 0 { [10, 128 + u8::from(version > 0) * 64, 0, 0] } else { [10, 64, 0, 0] };
        slice.on("n2", &address(net, number * endpoints + index))
    });
    let service = service(&name, &address([10, 0, 0, 0], number)).port("http", Tcp, 80);
    [service.applied(), pods.applied()]
}

fn with_external_ips() -> [Event; 2] {
    let bare = service("default/external", "10.32.0.0").port("http", Tcp, 80);
    let service =
        (0..EXTERNAL_IPS).fold(bare, |service, index| service.external_ip(&address([20, 0, 0, 0], index)));
    let pods = slice("default/external-1", "external").port("http", Tcp, 8080).on("n2", "10.33.0.1");
    [service.applied(), pods.applied()]
}

/// The address so many after this one.
fn address(first: [u8; 4], number: u32) -> String {
    Ipv4Addr::from_bits(Ipv4Addr::from(first).to_bits() + number).to_string()
}
