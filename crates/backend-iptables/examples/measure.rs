//! How long iptables' programs take for what the backend writes.
//!
//! `measure [nft|legacy] SERVICES [CHAINS]`, in a network namespace of its own (`unshare -n`, as root):
//! loads so many Services with two endpoints each, and changes single ones. CHAINS is how many chains one
//! input names, instead of what the backend takes for the kind. With `UNWATCHED` in the environment nothing listens
//! to changes by others.

#![expect(clippy::print_stdout, reason = "an example that measures prints what it measured")]

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use portolan_backend_iptables::IptablesBackend;
use portolan_backend_iptables::options::Options;
use portolan_backend_iptables::programs::{ProgramError, Programs, Variant};
use portolan_backend_iptables::tables::{Interference, Jump, Tables};
use portolan_backend_iptables::watched::Watched;
use portolan_core::Protocol::Tcp;
use portolan_core::event::{Change, Event};
use portolan_core::{ApplyReport, BackendError, IpFamily, ObjectName, ProxyBackend, State};
use portolan_testkit::objects::{empty_lists, service, slice};
use portolan_testkit::world;

/// How many single changes of each kind are timed.
const CHANGES: usize = 20;

/// The programs, given inputs of another size.
struct Sized {
    programs: Box<dyn Tables>,
    chains: Option<usize>,
}

impl Tables for Sized {
    fn save(&mut self, each_line: &mut dyn FnMut(&str)) -> Result<(), ProgramError> {
        self.programs.save(each_line)
    }

    fn restore(
        &mut self,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), ProgramError> {
        self.programs.restore(write)
    }

    fn clean(&mut self) -> Result<(), BackendError> {
        self.programs.clean()
    }

    fn chains_at_once(&self) -> usize {
        self.chains.unwrap_or_else(|| self.programs.chains_at_once())
    }

    fn interference(&mut self, jumps: &[Jump]) -> Interference {
        self.programs.interference(jumps)
    }
}

struct Node {
    state: State,
    backend: IptablesBackend<Sized>,
}

impl Node {
    fn hear(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            self.state.handle(event);
        }
    }

    fn apply(
        &mut self,
        events: impl IntoIterator<Item = Event>,
    ) -> Result<(Duration, ApplyReport), Box<dyn Error>> {
        self.hear(events);
        let began = Instant::now();
        self.state.prepare();
        let (plan, changes) = (self.state.plan(IpFamily::V4), self.state.changes(IpFamily::V4));
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let report = runtime.block_on(self.backend.apply(plan, changes))?;
        self.state.committed(IpFamily::V4);
        Ok((began.elapsed(), report))
    }

    fn time(&mut self, what: &str, events: impl Fn(usize) -> Vec<Event>) -> Result<(), Box<dyn Error>> {
        let mut times = Vec::new();
        let mut last = ApplyReport::default();
        for round in 0..CHANGES {
            let (took, report) = self.apply(events(round))?;
            times.push(took);
            last = report;
        }
        times.sort_unstable();
        let (half, most) = (times[CHANGES / 2], times[CHANGES - 1]);
        println!("{what}: p50 {half:.1?}, longest {most:.1?}; {} lines, {} bytes", last.messages, last.bytes);
        Ok(())
    }
}

fn address(net: u8, number: usize) -> String {
    format!("10.{net}.{}.{}", number / 250, number % 250 + 1)
}

fn objects(number: usize, endpoints: &[usize]) -> Vec<Event> {
    let (namespace, name) = (number % 50, format!("svc-{number}"));
    let pods = slice(&format!("ns{namespace}/{name}"), &name).port("http", Tcp, 8080);
    let pods = endpoints.iter().fold(pods, |slice, pod| slice.on("n2", &address(240, 2 * number + pod)));
    vec![
        service(&format!("ns{namespace}/{name}"), &address(96, number)).port("http", Tcp, 80).applied(),
        pods.applied(),
    ]
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let variant = match arguments.first().map(String::as_str) {
        Some("legacy") => Variant::Legacy,
        _ => Variant::Nft,
    };
    let services: usize = arguments.get(1).map_or(Ok(1000), |text| text.parse())?;
    let chains = arguments.get(2).map(|text| text.parse()).transpose()?;
    let programs = Programs::of_variant(IpFamily::V4, variant)?;
    let programs: Box<dyn Tables> = match env::var_os("UNWATCHED") {
        Some(_) => Box::new(programs),
        None => Box::new(Watched::new(programs)),
    };
    let backend = IptablesBackend::new(IpFamily::V4, Sized { programs, chains }, Options::default());
    let mut node = Node { state: State::new(world::config()), backend };
    node.hear(empty_lists());

    let (took, report) = node.apply((0..services).flat_map(|number| objects(number, &[0, 1])))?;
    println!(
        "{variant}, {services} services: loaded in {took:.2?}, {} inputs, the longest {:.2?}; {} lines, {} bytes",
        report.transactions, report.longest_transaction, report.messages, report.bytes
    );
    node.time("one endpoint", |round| objects(services / 2, if round % 2 == 0 { &[0, 2] } else { &[0, 1] }))?;
    node.time("one service more or less", |round| {
        if round % 2 == 0 {
            return objects(services + 1, &[0, 1]);
        }
        let name = ObjectName::new(format!("ns{}", (services + 1) % 50), format!("svc-{}", services + 1));
        vec![Event::Service(Change::Deleted(name))]
    })?;
    node.time("one service without endpoints and back", |round| {
        objects(services / 2, if round % 2 == 0 { &[] } else { &[0, 1] })
    })?;
    node.state.forget_applied(IpFamily::V4);
    let (took, report) = node.apply([])?;
    println!("a complete comparison: {took:.2?}, {} operations", report.operations);
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let intact = runtime.block_on(node.backend.is_intact())?;
    println!("an integrity check: {:.1?} ({intact})", began.elapsed());
    Ok(())
}
