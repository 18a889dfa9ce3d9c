//! Measures searches for stale flows, and their removal, in tables of several sizes.
//!
//! ```text
//! cargo build --release --example stale_flows -p portolan-conntrack
//! unshare -n target/release/examples/stale_flows
//! ```
//!
//! Each table holds UDP flows to as many frontends as there are thousands of flows, all good. Then some
//! frontends lose their endpoint while some stale flows lead to it. Times are the shortest of several, since
//! whatever else runs only adds to them: of search and removal, and of the removal alone, all flows in one call.
//! `read` is how many entries the kernel showed. Sizes beyond `net.netfilter.nf_conntrack_max`, which a namespace
//! cannot raise, are left out.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing better to do than to fail")]

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use portolan_conntrack::Conntrack;
use portolan_core::Protocol::Udp;
use portolan_core::event::Event;
use portolan_core::{ChangeSet, FlowCheck, FlowCleaner, IpFamily, State};
use portolan_netlink::{MessageWriter, NetlinkSocket, Protocol, flag};
use portolan_testkit::objects::{empty_lists, service, slice};
use portolan_testkit::world;

const SIZES: [u32; 4] = [1_000, 10_000, 100_000, 250_000];
/// How many frontends are in question, and how many stale flows each has.
const CASES: [(u32, u32); 7] = [(1, 0), (1, 1), (1, 128), (3, 1), (8, 1), (100, 1), (1_000, 1)];
const REPEATS: usize = 9;

fn main() {
    let mut out = std::io::stdout().lock();
    for family in IpFamily::ALL {
        let mut bench = Bench { family, socket: NetlinkSocket::open(Protocol::Netfilter).unwrap() };
        bench.forget_all();
        let mut filled = 0;
        for size in SIZES.into_iter().filter(|size| *size < limit()) {
            bench.fill(filled..size);
            filled = size;
            let figures = bench.check_everything();
            writeln!(out, "{family} {size:>7} flows | everything                  | {figures}").unwrap();
            for (frontends, stale) in CASES {
                let figures = bench.check(frontends, stale);
                writeln!(
                    out,
                    "{family} {size:>7} flows | {frontends:>4} frontends × {stale:>3} stale | {figures}"
                )
                .unwrap();
            }
        }
    }
}

/// Leaves room for the stale flows.
fn limit() -> u32 {
    let text = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max").unwrap();
    text.trim().parse::<u32>().unwrap() - 2_000
}

struct Bench {
    family: IpFamily,
    socket: NetlinkSocket,
}

impl Bench {
    /// An address: `net` tells clients (1), frontends (96), good (244) and bad (245) endpoints apart.
    fn address(&self, net: u8, number: u32) -> IpAddr {
        let low = number.to_be_bytes();
        match self.family {
            IpFamily::V4 => Ipv4Addr::new(10, net, low[2], low[3]).into(),
            IpFamily::V6 => {
                let number = (u128::from(net) << 32) | u128::from(number);
                Ipv6Addr::from((0xfd00_u128 << 112) | number).into()
            }
        }
    }

    fn port(number: u32) -> u16 {
        u16::try_from(1000 + number % 60_000).unwrap()
    }

    /// Good flows, to frontends that the checks are not about.
    fn fill(&mut self, numbers: std::ops::Range<u32>) {
        let flows: Vec<_> = numbers
            .map(|number| {
                let source = SocketAddr::new(self.address(1, number / 50_000), Self::port(number % 50_000));
                let frontend = 30_000 + number / 1000;
                let destination = SocketAddr::new(self.address(96, frontend), 53);
                (source, destination, SocketAddr::new(self.address(244, frontend), 5353))
            })
            .collect();
        self.track(&flows);
    }

    fn events(&self, frontends: u32, net: u8) -> Vec<Event> {
        let of = |number: u32| {
            let (name, slice_name) = (format!("ns/s{number}"), format!("ns/s{number}-1"));
            let service = service(&name, &self.address(96, number).to_string());
            let slice = slice(&slice_name, &format!("s{number}")).port("", Udp, 5353);
            let endpoint = self.address(net, number).to_string();
            [service.port("", Udp, Self::port(number)).applied(), slice.on("n1", &endpoint).applied()]
        };
        (0..frontends).flat_map(of).collect()
    }

    fn check(&mut self, frontends: u32, flows_each: u32) -> String {
        let mut state = State::new(world::config());
        let lists = empty_lists();
        let mut step = |events: Vec<Event>| {
            for event in events {
                state.handle(event);
            }
            state.prepare();
            let check = FlowCheck::after(state.plan(self.family), state.changes(self.family));
            state.committed(self.family);
            check
        };
        step(lists.into_iter().chain(self.events(frontends, 245)).collect());
        let check = step(self.events(frontends, 244));
        let flows: Vec<_> = (0..frontends)
            .flat_map(|frontend| (0..flows_each).map(move |client| (frontend, client)))
            .map(|(frontend, client)| {
                let source = SocketAddr::new(self.address(2, frontend), Self::port(client));
                let destination = SocketAddr::new(self.address(96, frontend), Self::port(frontend));
                (source, destination, SocketAddr::new(self.address(245, frontend), 5353))
            })
            .collect();
        self.measure(&check, &flows)
    }

    /// What a start costs that finds nothing stale.
    fn check_everything(&mut self) -> String {
        let mut state = State::new(world::config());
        empty_lists().into_iter().chain(self.events(100, 244)).for_each(|event| state.handle(event));
        state.prepare();
        let check = FlowCheck::after(state.plan(self.family), &ChangeSet::complete());
        self.measure(&check, &[])
    }

    fn measure(&mut self, check: &FlowCheck, stale: &[(SocketAddr, SocketAddr, SocketAddr)]) -> String {
        let mut conntrack = Conntrack::new();
        let (mut shortest, mut removal) = (Duration::MAX, Duration::MAX);
        for _ in 0..REPEATS {
            self.track(stale);
            let before = Instant::now();
            let found = conntrack.find_stale(self.family, check).unwrap();
            let searched = Instant::now();
            assert_eq!(conntrack.remove(self.family, &found).unwrap(), stale.len());
            (shortest, removal) = (shortest.min(before.elapsed()), removal.min(searched.elapsed()));
        }
        let read = conntrack.flows_read() / REPEATS as u64;
        format!("{:>9} | {:>9} to remove | {read:>7} read", show(shortest), show(removal))
    }

    fn track(&mut self, flows: &[(SocketAddr, SocketAddr, SocketAddr)]) {
        for some in flows.chunks(200) {
            let mut batch = self.socket.new_batch();
            for (source, destination, endpoint) in some {
                let fill = |message: &mut MessageWriter<'_>| write(message, *source, *destination, *endpoint);
                // IPCTNL_MSG_CT_NEW, linux/netfilter/nfnetlink_conntrack.h
                batch.add(0x100, flag::REQUEST | flag::CREATE | flag::EXCL, fill).unwrap();
            }
            batch.set_flags(batch.last().unwrap(), flag::ACK);
            assert_eq!(self.socket.send_each(&batch).unwrap(), []);
        }
    }

    fn forget_all(&mut self) {
        let all = |message: &mut MessageWriter<'_>| _ = message.bytes(&[0; 4]);
        // IPCTNL_MSG_CT_DELETE without a tuple
        self.socket.request::<()>(0x102, flag::ACK, all, |(), _| ()).unwrap();
    }
}

/// The attributes are those of linux/netfilter/nfnetlink_conntrack.h: tuples, each with addresses and ports, and a
/// time-out.
fn write(message: &mut MessageWriter<'_>, source: SocketAddr, destination: SocketAddr, endpoint: SocketAddr) {
    message.bytes(&[if source.is_ipv4() { 2 } else { 10 }, 0, 0, 0]);
    for (kind, from, to) in [(1, source, destination), (2, endpoint, source)] {
        message.nest(kind, |tuple| {
            tuple.nest(1, |ip| {
                for (kind, end) in [(1, from), (2, to)] {
                    match end.ip() {
                        IpAddr::V4(address) => ip.attribute(kind, &address.octets()),
                        IpAddr::V6(address) => ip.attribute(kind + 2, &address.octets()),
                    };
                }
            });
            tuple.nest(2, |udp| {
                udp.attribute(1, &[17]);
                udp.attribute(2, &from.port().to_be_bytes()).attribute(3, &to.port().to_be_bytes());
            });
        });
    }
    message.attribute(7, &600_u32.to_be_bytes());
}

fn show(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}
