//! How long the rules of many Services take to write, and how many they are.
//!
//! ```text
//! cargo run --release -p portolan-backend-iptables --example render -- 10000 2 5
//! ```
//!
//! writes the whole input for that many Services with that many endpoints each to nowhere, five times over,
//! and then the chains of a single one; the fastest counts. Nothing is loaded.

#![expect(clippy::print_stdout, reason = "what it finds is for whoever runs it")]

use std::error::Error;
use std::io::{self, BufWriter};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use portolan_backend_iptables::names::Table;
use portolan_backend_iptables::options::Options;
use portolan_backend_iptables::render::{Context, LARGE, own_chains};
use portolan_backend_iptables::restore::Input;
use portolan_backend_iptables::whole::whole;
use portolan_core::Protocol::Tcp;
use portolan_core::{IpFamily, NodeConfig, NodePlan, State};
use portolan_testkit::objects::{empty_lists, service, slice};

fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = std::env::args().skip(1);
    let services = numbers.next().map_or(Ok(10_000), |text| text.parse())?;
    let endpoints: u32 = numbers.next().map_or(Ok(2), |text| text.parse())?;
    let times: u32 = numbers.next().map_or(Ok(5), |text| text.parse())?;
    let state = state(services, endpoints);
    let plan = state.plan(IpFamily::V4);
    let options = Options::default();
    let is_large = u64::from(services) * u64::from(endpoints) > LARGE as u64;
    let cx = Context { family: plan.family, node: &plan.node, options: &options, is_large };

    let (written, time) = fastest(times, || whole(&cx, plan, BufWriter::new(io::sink())))?;
    println!(
        "{services} services of {endpoints}: {} lines, {} bytes in {time:?}",
        written.lines, written.bytes
    );
    let (written, time) = fastest(times, || one(&cx, plan))?;
    println!("the chains of one: {} lines, {} bytes in {time:?}", written.lines, written.bytes);
    Ok(())
}

/// What the work gives, and how long it takes at best.
fn fastest<T: Default>(times: u32, work: impl Fn() -> io::Result<T>) -> io::Result<(T, Duration)> {
    let mut best = (T::default(), Duration::MAX);
    for _ in 0..times {
        let start = Instant::now();
        let done = work()?;
        best = (done, best.1.min(start.elapsed()));
    }
    Ok(best)
}

/// Replaces the chains of one service port.
fn one(cx: &Context<'_>, plan: &NodePlan) -> io::Result<portolan_backend_iptables::restore::Written> {
    let mut input = Input::new(BufWriter::new(io::sink()));
    input.table(Table::Nat);
    if let Some((name, port)) = plan.service_ports.iter().next() {
        own_chains(cx, name, port, &mut input.declared());
        own_chains(cx, name, port, &mut input.appended());
    }
    input.commit();
    input.finish()
}

/// A state that knows so many Services of so many endpoints each.
fn state(services: u32, endpoints: u32) -> State {
    let mut state = State::new(NodeConfig::new("n1"));
    for event in empty_lists() {
        state.handle(event);
    }
    for number in 0..services {
        let name = format!("default/service-{number}");
        let vip = address([10, 0, 0, 0], number);
        state.handle(service(&name, &vip).port("http", Tcp, 80).applied());
        let bare = slice(&format!("{name}-1"), &format!("service-{number}")).port("http", Tcp, 8080);
        let pod = |index| address([10, 128, 0, 0], number * endpoints + index);
        state.handle((0..endpoints).fold(bare, |slice, index| slice.on("n2", &pod(index))).applied());
    }
    state.prepare();
    state
}

/// The address so many after this one.
fn address(first: [u8; 4], number: u32) -> String {
    Ipv4Addr::from_bits(Ipv4Addr::from(first).to_bits() + number).to_string()
}
