//! Which endpoint a client had (`sessionAffinity: ClientIP`).
//!
//! Entries whose time is over are swept out whenever the table has doubled, so that noting costs O(1) on
//! average and clients that never come back do not pile up.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Below this many clients a sweep is not worth its walk.
const SMALLEST_SWEEP: usize = 1024;

/// What is remembered of the clients of one service port.
#[derive(Debug, Default)]
pub(super) struct Affinity {
    clients: HashMap<IpAddr, Entry>,
    sweep_at: usize,
}

#[derive(Debug)]
struct Entry {
    endpoint: SocketAddr,
    /// When its last connection came.
    last: Instant,
}

impl Affinity {
    /// The endpoint that a client had, if that is no longer ago than `timeout`.
    pub(super) fn recall(&self, client: IpAddr, timeout: Duration, now: Instant) -> Option<SocketAddr> {
        let entry = self.clients.get(&client)?;
        (now.saturating_duration_since(entry.last) < timeout).then_some(entry.endpoint)
    }

    /// From now on for `timeout`, this is the client's endpoint.
    pub(super) fn note(&mut self, client: IpAddr, endpoint: SocketAddr, timeout: Duration, now: Instant) {
        self.clients.insert(client, Entry { endpoint, last: now });
        if self.clients.len() >= self.sweep_at.max(SMALLEST_SWEEP) {
            self.clients.retain(|_, entry| now.saturating_duration_since(entry.last) < timeout);
            self.sweep_at = self.clients.len() * 2;
        }
    }
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
}
