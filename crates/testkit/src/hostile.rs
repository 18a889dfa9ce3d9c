//! One Service that asks for as much as its author can write, beside one that does not.
//!
//! Checks what holds for every backend: the work for such a Service grows with the length of its lists and no faster,
//! and a change of the other Service costs what it costs alone. Work is counted by what the backend reports, and by
//! the processor time of the thread: never by how long something took, which other processes decide.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use portolan_core::Protocol::{Tcp, Udp};
use portolan_core::event::{Change, Event};
use portolan_core::name::ObjectName;
use portolan_core::{ApplyReport, IpFamily, NodeConfig, ProxyBackend};
use proptest::prelude::*;

use crate::objects::{ServiceBuilder, SliceBuilder, service, slice};
use crate::{Process, world};

/// A list that an author can make long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    ExternalIps,
    IngressIps,
    SourceRanges,
    Ports,
    Endpoints,
    /// Ports that a slice has and its Service has not.
    SlicePorts,
    Slices,
    Hints,
    /// Services that all name one address.
    Rivals,
}

impl List {
    const ALL: [Self; 9] = [
        Self::ExternalIps,
        Self::IngressIps,
        Self::SourceRanges,
        Self::Ports,
        Self::Endpoints,
        Self::SlicePorts,
        Self::Slices,
        Self::Hints,
        Self::Rivals,
    ];
}

/// Two lengths of a list. Work that follows the length is eight times as much for the second, and work that follows
/// its square 64 times.
const LENGTHS: [usize; 2] = [1_000, 8_000];
/// What is asserted lies between, and as far from either as caches and other processes can shift it.
const MOST_GROWTH: u32 = 24;
/// Work of less than this is not compared: it is mostly what does not grow.
const LEAST: Duration = Duration::from_millis(3);

/// How long the lists of one Service are.
#[derive(Debug, Clone, Copy)]
pub struct Lengths {
    external_ips: usize,
    ingress_ips: usize,
    source_ranges: usize,
    ports: usize,
    endpoints: usize,
    slices: usize,
    hints: usize,
    slice_ports: usize,
    rivals: usize,
}

impl Lengths {
    const ORDINARY: Self = Self {
        external_ips: 0,
        ingress_ips: 0,
        source_ranges: 0,
        ports: 1,
        endpoints: 2,
        slices: 1,
        hints: 0,
        slice_ports: 0,
        rivals: 0,
    };

    fn with(list: List, length: usize) -> Self {
        let ordinary = Self::ORDINARY;
        match list {
            List::ExternalIps => Self { external_ips: length, ..ordinary },
            List::IngressIps => Self { ingress_ips: length, source_ranges: 2, ..ordinary },
            List::SourceRanges => Self { source_ranges: length, ingress_ips: 1, ..ordinary },
            List::Ports => Self { ports: length, ..ordinary },
            List::Endpoints => Self { endpoints: length, ..ordinary },
            List::SlicePorts => Self { slice_ports: length, ..ordinary },
            List::Slices => Self { slices: length, endpoints: 1, ..ordinary },
            List::Hints => Self { hints: length, ..ordinary },
            List::Rivals => Self { rivals: length, external_ips: 1, ..ordinary },
        }
    }

    /// All sources, destinations and endpoints of packets.
    fn combinations(&self) -> usize {
        let addresses = 2 + self.external_ips + self.ingress_ips;
        let leads = self.ports * addresses * (1 + self.endpoints * self.slices);
        leads + self.ports * self.ingress_ips * self.source_ranges
    }

    fn service(&self, name: &str, cluster_ip: &str) -> ServiceBuilder {
        let at = |base: [u8; 4]| move |index| address(base, index).to_string();
        let bare = (0..self.ports).fold(service(name, cluster_ip), |service, index| {
            let protocol = if index % 2 == 0 { Tcp } else { Udp };
            service.port(&port(index), protocol, u16::try_from(1 + index).unwrap_or(u16::MAX))
        });
        let external = (0..self.external_ips).map(at([20, 0, 0, 0]));
        let balanced = (0..self.ingress_ips).map(at([30, 0, 0, 0]));
        let service = external.fold(bare, |service, ip| service.external_ip(&ip));
        let service = balanced.fold(service, |service, ip| service.load_balancer_ip(&ip));
        // Every other address, so that nothing merges.
        let ranges = (0..self.source_ranges).map(|index| format!("{}/32", address([40, 0, 0, 0], 2 * index)));
        ranges.fold(service, |service, range| service.source_range(&range))
    }

    /// The `part`th slice. Another `version` is another first endpoint.
    fn slice(&self, name: &str, part: usize, version: usize) -> SliceBuilder {
        let (namespace, service) = name.split_once('/').unwrap_or_default();
        let bare = (0..self.ports + self.slice_ports).fold(
            slice(&format!("{namespace}/{service}-{part}"), service),
            |slice, index| {
                let protocol = if index % 2 == 0 { Tcp } else { Udp };
                slice.port(&port(index), protocol, 8080)
            },
        );
        let zones: Vec<String> = (0..self.hints).map(|index| format!("zone-{index}")).collect();
        let zones: Vec<&str> = zones.iter().map(String::as_str).collect();
        (0..self.endpoints).fold(bare, |slice, index| {
            let pod = if part == 0 && index == 0 {
                address([60, 0, 0, 0], version)
            } else {
                address([50, 0, 0, 0], part * self.endpoints + index)
            };
            let slice = slice.on("n2", &pod.to_string());
            if zones.is_empty() { slice } else { slice.hinted(&zones, &[]) }
        })
    }

    /// All objects.
    fn objects(&self) -> Vec<Event> {
        let rival = |index| {
            let (name, ip) = (format!("tenant/rival{index}"), address([70, 0, 0, 0], index).to_string());
            service(&name, &ip).port("p0", Tcp, 1).external_ip("20.0.0.0").applied()
        };
        let slices = (0..self.slices).map(|part| self.slice(LARGE, part, 0).applied());
        let all = (0..self.rivals).map(rival).chain(slices);
        all.chain([self.service(LARGE, "10.96.9.9").created(9).applied()]).collect()
    }

    /// That the same objects are gone.
    fn gone(&self) -> Vec<Event> {
        let service = |name: String| Event::Service(Change::Deleted(ObjectName::new("tenant", name)));
        let slice = |part| ObjectName::new("tenant", format!("large-{part}"));
        let slices = (0..self.slices).map(|part| Event::EndpointSlice(Change::Deleted(slice(part))));
        let rivals = (0..self.rivals).map(|index| service(format!("rival{index}")));
        slices.chain([service("large".to_owned())]).chain(rivals).collect()
    }
}

/// The Service with the long lists.
const LARGE: &str = "tenant/large";
/// The other one.
const OTHER: &str = "others/web";

fn port(index: usize) -> String {
    format!("p{index}")
}

fn address(base: [u8; 4], index: usize) -> IpAddr {
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    Ipv4Addr::from(u32::from(Ipv4Addr::from(base)) + index).into()
}

/// What one Service took from its first to its last event.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// Of the thread, for the load, a change of one endpoint, and the removal.
    time: [Duration; 3],
    /// For the load.
    operations: usize,
    /// For a change of one endpoint of the other Service.
    beside: usize,
}

/// A process that has loaded the other Service alone, and its changes.
struct Rig<B>(Process<B>);

impl<B: ProxyBackend> Rig<B> {
    fn start(make: &impl Fn(IpFamily) -> B) -> Self {
        let config = NodeConfig { node_name: "n1".into(), ..world::config() };
        let other = Lengths::ORDINARY;
        let events = [other.slice(OTHER, 0, 0).applied(), other.service(OTHER, "10.96.0.9").applied()];
        let mut rig = Self(Process::start(config, events, make));
        rig.apply([]);
        rig
    }

    fn apply(&mut self, events: impl IntoIterator<Item = Event>) -> ApplyReport {
        self.0.handle(events).apply()
    }

    fn timed(&mut self, events: Vec<Event>) -> (ApplyReport, Duration) {
        let before = thread_time();
        let report = self.apply(events);
        (report, thread_time().saturating_sub(before))
    }

    /// An endpoint of the other Service is replaced.
    fn change_beside(&mut self) -> usize {
        self.apply([Lengths::ORDINARY.slice(OTHER, 0, 1).applied()]).operations
    }
}

/// The processor time that this thread has taken so far.
fn thread_time() -> Duration {
    match clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID) {
        Ok(time) => time.into(),
        Err(errno) => panic!("the thread has no clock: {errno}"),
    }
}

fn measure<B: ProxyBackend>(make: &impl Fn(IpFamily) -> B, lengths: Lengths) -> Cost {
    let mut rig = Rig::start(make);
    let (report, load) = rig.timed(lengths.objects());
    let (_, change) = rig.timed(vec![lengths.slice(LARGE, 0, 1).applied()]);
    let beside = rig.change_beside();
    let (_, removal) = rig.timed(lengths.gone());
    Cost { time: [load, change, removal], operations: report.operations, beside }
}

/// Makes each list of a Service long, one after the other, and checks that the work follows its length and that the
/// Service beside it does not notice.
///
/// # Panics
/// If that does not hold.
pub fn assert_work_follows_the_length_of_lists<B: ProxyBackend>(make: impl Fn(IpFamily) -> B) {
    let alone = Rig::start(&make).change_beside();
    for list in List::ALL {
        let [short, long] = LENGTHS.map(|length| {
            let [a, b] = [(); 2].map(|()| measure(&make, Lengths::with(list, length)));
            // The less of two: another process can only add to it.
            Cost { time: [0, 1, 2].map(|step| a.time[step].min(b.time[step])), ..b }
        });
        for (step, (short, long)) in
            ["load", "change", "removal"].iter().zip(short.time.iter().zip(long.time))
        {
            let most = (*short).max(LEAST) * MOST_GROWTH;
            assert!(long <= most, "{list:?}, {step}: {short:?} for {LENGTHS:?} became {long:?}");
        }
        assert_eq!((short.beside, long.beside), (alone, alone), "{list:?}: another Service notices");
    }
}

/// Lists of any lengths together.
pub fn lengths() -> impl Strategy<Value = Lengths> {
    let length = || prop_oneof![2 => 0_usize..4, 1 => 0_usize..40];
    (length(), length(), length(), 1_usize..12, 0_usize..12, 1_usize..4, length(), length(), length())
        .prop_map(
            |(
                external_ips,
                ingress_ips,
                source_ranges,
                ports,
                endpoints,
                slices,
                hints,
                slice_ports,
                rivals,
            )| {
                Lengths {
                    external_ips,
                    ingress_ips,
                    source_ranges,
                    ports,
                    endpoints,
                    slices,
                    hints,
                    slice_ports,
                    rivals,
                }
            },
        )
}

/// Checks that a Service with lists of these lengths serves no other sources, destinations and endpoints of packets,
/// and that the Service beside it does not notice.
///
/// # Panics
/// If that does not hold.
pub fn assert_work_is_bounded<B: ProxyBackend>(make: impl Fn(IpFamily) -> B, lengths: Lengths) {
    let cost = measure(&make, lengths);
    assert_eq!(cost.beside, Rig::start(&make).change_beside(), "another Service notices");
    // A handful of objects for each, and for each of the rivals.
    let most = 100 + 12 * (lengths.combinations() + 2 * lengths.rivals);
    assert!(cost.operations <= most, "{cost:?} for {lengths:?}, not {most}");
}
