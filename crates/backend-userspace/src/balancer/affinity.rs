//! Which endpoint a client had (`sessionAffinity: ClientIP`).
//!
//! Entries whose time is over are swept out whenever the table has doubled, so that noting costs O(1) on
//! average and clients that never come back do not pile up. However many come, no more than [`MOST`] are
//! remembered, and those who have been away for longest are forgotten first.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::second_chance::{SecondChance, Ticket};

/// Below this many clients a sweep is not worth its walk.
const SMALLEST_SWEEP: usize = 1024;
/// How many clients of one service port are remembered, some ten megabytes of them: as many as the kernel remembers
/// in a set that names no size (`nft_dynset_init` in net/netfilter/nft_dynset.c).
const MOST: usize = 65_535;

/// What is remembered of the clients of one service port.
#[derive(Debug, Default)]
pub(super) struct Affinity {
    clients: HashMap<IpAddr, Entry>,
    order: SecondChance<IpAddr, Instant>,
    sweep_at: usize,
}

#[derive(Debug)]
struct Entry {
    endpoint: SocketAddr,
    /// When its last connection came.
    last: Instant,
    ticket: Ticket,
}

impl Affinity {
    /// The endpoint that a client had, if that is no longer ago than `timeout`.
    pub(super) fn recall(&self, client: IpAddr, timeout: Duration, now: Instant) -> Option<SocketAddr> {
        let entry = self.clients.get(&client)?;
        (now.saturating_duration_since(entry.last) < timeout).then_some(entry.endpoint)
    }

    /// From now on for `timeout`, this is the client's endpoint.
    pub(super) fn note(&mut self, client: IpAddr, endpoint: SocketAddr, timeout: Duration, now: Instant) {
        if let Some(entry) = self.clients.get_mut(&client) {
            (entry.endpoint, entry.last) = (endpoint, now);
            return;
        }
        if self.clients.len() >= MOST && !self.forget_one() {
            return;
        }
        let ticket = self.order.push(client, now);
        self.clients.insert(client, Entry { endpoint, last: now, ticket });
        if self.clients.len() >= self.sweep_at.max(SMALLEST_SWEEP) {
            self.clients.retain(|_, entry| now.saturating_duration_since(entry.last) < timeout);
            self.sweep_at = self.clients.len() * 2;
        }
        let clients = &self.clients;
        self.order.tidy(clients.len(), |client, ticket| is_at(clients, client, ticket).is_some());
    }

    /// Makes room for another, unless everybody has been here just now.
    fn forget_one(&mut self) -> bool {
        let clients = &self.clients;
        let last = |client, ticket| is_at(clients, client, ticket).map(|entry| entry.last);
        let silent = self.order.take_silent(last);
        silent.is_some_and(|client| self.clients.remove(&client).is_some())
    }
}

fn is_at(clients: &HashMap<IpAddr, Entry>, client: IpAddr, ticket: Ticket) -> Option<&Entry> {
    clients.get(&client).filter(|entry| entry.ticket == ticket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const TIMEOUT: Duration = Duration::from_secs(60);

    fn client(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn a_client_is_known_until_its_time_is_over_and_each_connection_starts_it_anew() {
        let (mut affinity, start) = (Affinity::default(), Instant::now());
        let endpoint: SocketAddr = "10.244.0.11:8080".parse().unwrap();
        let at = |seconds| start + Duration::from_secs(seconds);
        affinity.note(client(1), endpoint, TIMEOUT, start);
        assert_eq!(affinity.recall(client(1), TIMEOUT, at(59)), Some(endpoint));
        affinity.note(client(1), endpoint, TIMEOUT, at(59));
        assert_eq!(affinity.recall(client(1), TIMEOUT, at(118)), Some(endpoint));
        assert_eq!(affinity.recall(client(1), TIMEOUT, at(119)), None);
        assert_eq!(affinity.recall(client(2), TIMEOUT, start), None);
    }

    #[test]
    fn clients_that_do_not_come_back_do_not_pile_up() {
        let (mut affinity, start) = (Affinity::default(), Instant::now());
        let endpoint: SocketAddr = "10.244.0.11:8080".parse().unwrap();
        for number in 0..100_000 {
            affinity.note(client(number), endpoint, TIMEOUT, start + Duration::from_secs(number.into()));
        }
        assert!(affinity.clients.len() <= SMALLEST_SWEEP, "{} clients", affinity.clients.len());
    }

    #[test]
    fn of_millions_of_clients_some_are_remembered_and_those_who_come_back_among_them() {
        let (mut affinity, start) = (Affinity::default(), Instant::now());
        let endpoint: SocketAddr = "10.244.0.11:8080".parse().unwrap();
        let (hour, faithful) = (Duration::from_secs(3600), client(u32::MAX));
        affinity.note(faithful, endpoint, hour, start);
        for number in 0..300_000 {
            let now = start + Duration::from_millis(u64::from(number) + 1);
            affinity.note(client(number), endpoint, hour, now);
            if number % 10_000 == 0 {
                affinity.note(faithful, endpoint, hour, now);
            }
        }
        assert_eq!(affinity.clients.len(), MOST);
        let later = start + Duration::from_secs(600);
        assert_eq!(affinity.recall(faithful, hour, later), Some(endpoint));
        assert_eq!(affinity.recall(client(299_999), hour, later), Some(endpoint));
        assert_eq!(affinity.recall(client(1), hour, later), None);
    }
}
