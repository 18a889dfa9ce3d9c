//! Asking, and making sense of the answer.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use portolan_core::Protocol;

use super::network::{BYSTANDER, ScenarioNetwork};
use crate::netns::{Answer, Caller, NetnsError, TrafficError};
use crate::scenario::affinity::ReturningClients;
use crate::scenario::expectation::{Expected, Found, Target};
use crate::scenario::packet::{Packet, Seen, Sender};

/// How long to listen for an answer that must not come.
const SILENCE: Duration = Duration::from_millis(250);
/// How long to wait for one that should: long enough to distinguish a lost one from a late one.
const PATIENCE: Duration = Duration::from_secs(3);
/// The kernel repeats an unanswered SYN after a second (RFC 6298): an answer that took as long came
/// to a repeated one, the first being lost.
const REPEATED: Duration = Duration::from_secs(1);
/// A refusal at once does not wait for that.
const AT_ONCE: Duration = Duration::from_millis(800);
/// How often each endpoint is given a chance before it counts as out of reach: one of three endpoints
/// is missed that often once in 10²⁰ packets.
const CHANCES: usize = 40;

/// What became of one packet, and how long that took.
#[derive(Debug)]
struct Reply {
    answer: Result<Answer, ErrorKind>,
    after: Duration,
}

impl Reply {
    /// Whether the first packet, or what came back, may have been lost.
    fn is_late(&self) -> bool {
        match self.answer {
            Ok(_) => self.after >= REPEATED,
            Err(ErrorKind::ConnectionRefused) => self.after >= AT_ONCE,
            Err(kind) => kind == ErrorKind::TimedOut,
        }
    }
}

/// What became of clients that came again.
#[derive(Debug, Default)]
pub(super) struct Staying {
    /// Those who did not stay, in words.
    pub(super) strayed: Vec<String>,
    /// How many have another endpoint than before.
    pub(super) moved: usize,
}

impl ScenarioNetwork {
    /// What becomes of each of these packets. Those that should vanish are sent all at once, since each
    /// takes its time.
    pub(super) fn find(&self, packets: &[Packet], expected: &Expected) -> Result<Vec<Found>, NetnsError> {
        if *expected != Expected::IsDropped {
            return packets.iter().map(|packet| self.find_one(packet, expected)).collect();
        }
        thread::scope(|scope| {
            let find = |packet| scope.spawn(move || self.find_one(packet, expected));
            let probes: Vec<_> = packets.iter().map(find).collect();
            let join = |probe: thread::ScopedJoinHandle<'_, _>| {
                probe.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            probes.into_iter().map(join).collect()
        })
    }

    fn find_one(&self, packet: &Packet, expected: &Expected) -> Result<Found, NetnsError> {
        let (least, most) = match expected {
            Expected::Reaches { endpoints, .. } => (3 * endpoints.len(), CHANCES * endpoints.len()),
            _ => (1, 1),
        };
        let patience = if *expected == Expected::IsDropped { SILENCE } else { PATIENCE };
        let mut found = Found::default();
        for sent in 1..=most {
            self.ask_and_note(packet, patience, expected, &mut found)?;
            let is_enough = sent >= least && expected.judge(packet, &found).is_ok();
            if is_enough || found.refused || found.silent || !found.strange.is_empty() {
                break;
            }
        }
        Ok(found)
    }

    fn ask_and_note(
        &self,
        packet: &Packet,
        patience: Duration,
        expected: &Expected,
        found: &mut Found,
    ) -> Result<(), NetnsError> {
        let Reply { answer, after } = self.ask(packet, patience)?;
        match answer {
            Ok(answer) if after < REPEATED => self.note_answer(packet, &answer, found),
            Ok(answer) => drop(found.strange.insert(format!("reach {} only after {after:?}", answer.pod))),
            Err(ErrorKind::ConnectionRefused) if after < AT_ONCE => found.refused = true,
            // A route that prohibits answers a client five times at once and then once a second, and that is no
            // namespace's to change (net.ipv4.route.error_burst): the answer may be to a repeated packet.
            Err(ErrorKind::HostUnreachable) => found.refused = true,
            Err(ErrorKind::TimedOut) => found.silent = true,
            // What its own kernel does not let out fails in the sender's `send`, whether it was refused
            // or dropped: the two look the same.
            Err(ErrorKind::PermissionDenied) if packet.from.is_node() && packet.protocol == Protocol::Udp => {
                found.silent = *expected == Expected::IsDropped;
                found.refused = !found.silent;
            }
            // A route that prohibits refuses a connection in `connect`; rules never do.
            Err(ErrorKind::PermissionDenied) if packet.from.is_node() => found.refused = true,
            Err(kind) => drop(found.strange.insert(format!("{kind} after {after:?}"))),
        }
        Ok(())
    }

    fn note_answer(&self, packet: &Packet, answer: &Answer, found: &mut Found) {
        let Some(seen) = self.seen(packet, answer.peer.ip()) else {
            let stranger = format!("reach {} as {}", answer.pod, answer.peer.ip());
            found.strange.insert(stranger);
            return;
        };
        let is_own = packet.from.is_node() || seen == Seen::Themselves;
        match Target::named(&answer.pod) {
            Some(target) if Target::at(packet.socket()) != Some(target) => {
                found.arrivals.insert((target, seen));
            }
            _ if is_own && (answer.pod == BYSTANDER || Target::named(&answer.pod).is_some()) => {
                found.untouched = true;
            }
            _ => drop(found.strange.insert(format!("reach {} as {seen}", answer.pod))),
        }
    }

    /// Whom a receiver saw; nothing if it was neither the sender nor the node.
    fn seen(&self, packet: &Packet, peer: IpAddr) -> Option<Seen> {
        let own = packet.from.address(packet.family);
        match packet.from {
            Sender::Client(_) | Sender::Pod(_) if own == Some(peer) => Some(Seen::Themselves),
            _ if self.node_addresses.contains(&peer) || peer.is_loopback() => Some(Seen::TheNode),
            _ => None,
        }
    }

    /// Sends one packet and waits for the answer; sends another if one that should come is late.
    ///
    /// A machine with more to do than it can loses a packet now and then, between two namespaces that have
    /// no rules as well. A proxy that drops a packet by mistake does so twice.
    fn ask(&self, packet: &Packet, patience: Duration) -> Result<Reply, NetnsError> {
        let reply = self.ask_once(packet, patience)?;
        if patience == PATIENCE && reply.is_late() { self.ask_once(packet, patience) } else { Ok(reply) }
    }

    fn ask_once(&self, packet: &Packet, patience: Duration) -> Result<Reply, NetnsError> {
        let to: SocketAddr = packet.socket();
        let namespace = match packet.from {
            Sender::Client(_) => &self.client,
            Sender::Node | Sender::NodeBoundTo(_) => &self.node,
            Sender::Pod(number) => &self.pods[usize::from(number) - 1].namespace,
        };
        let mut caller = Caller::from(namespace)
            .with_patience(patience)
            .with_source_port(self.next_source_port.fetch_add(1, Ordering::Relaxed));
        if let Some(address) = packet.from.address(packet.family) {
            caller = caller.with_source(address);
        }
        let start = Instant::now();
        let answer = match packet.protocol {
            Protocol::Udp => caller.query_udp(to),
            Protocol::Tcp => caller.connect_tcp(to),
            Protocol::Sctp => caller.connect_sctp(to),
        };
        if answer.is_ok() && packet.protocol == Protocol::Sctp {
            self.associations.fetch_add(1, Ordering::Relaxed);
        }
        match answer {
            Err(TrafficError::NoCaller(error)) => Err(error),
            answer => Ok(Reply { answer: answer.map_err(|error| error.kind()), after: start.elapsed() }),
        }
    }

    /// Lets clients come again; each must come to the endpoint it had, or choose one and keep to it.
    pub(super) fn find_staying(
        &mut self,
        comers: &ReturningClients,
        packets: &[Packet],
    ) -> Result<Staying, NetnsError> {
        let mut staying = Staying::default();
        for packet in packets {
            let had = self.memory.had(comers, packet);
            self.come(comers, packet, had, &mut staying)?;
        }
        Ok(staying)
    }

    /// The same, but what clients had before does not bind them.
    pub(super) fn find_moving(
        &mut self,
        comers: &ReturningClients,
        packets: &[Packet],
    ) -> Result<Staying, NetnsError> {
        let mut staying = Staying::default();
        let way = |packet: &Packet| (packet.from, packet.family, packet.protocol);
        let mut last = None;
        for packet in packets {
            // Packets are grouped by client: the first of a group chooses for the others.
            let had = (last == Some(way(packet))).then(|| self.memory.had(comers, packet)).flatten();
            last = Some(way(packet));
            self.come(comers, packet, had, &mut staying)?;
        }
        Ok(staying)
    }

    fn come(
        &mut self,
        comers: &ReturningClients,
        packet: &Packet,
        mut had: Option<Target>,
        staying: &mut Staying,
    ) -> Result<(), NetnsError> {
        for _ in 0..comers.times {
            let reply = self.ask(packet, PATIENCE)?;
            let reached = reply.answer.as_ref().ok().filter(|_| reply.after < REPEATED);
            let reached = reached.and_then(|answer| Target::named(&answer.pod));
            let is_right = reached
                .is_some_and(|target| comers.among.contains(&target) && had.is_none_or(|had| had == target));
            let Some(reached) = reached.filter(|_| is_right) else {
                let wanted = had.map_or_else(|| "one endpoint".into(), |had| had.to_string());
                staying
                    .strayed
                    .push(format!("{packet}\n    should: stay with {wanted}\n    did:    {reply:?}"));
                return Ok(());
            };
            let before = self.memory.has(comers, packet, reached);
            staying.moved += usize::from(before.is_some_and(|before| before != reached));
            had = Some(reached);
        }
        Ok(())
    }
}
