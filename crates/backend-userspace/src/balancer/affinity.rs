//! Session affinity (`sessionAffinity: ClientIP`): the endpoint that each client had.
//!
//! Clients are kept in two generations. When the recent one is full or as old as the time-out, it becomes the older one,
//! and the one before it is dropped. So noting a client costs O(1), memory is bounded, and of a flood of clients the ones
//! seen last are remembered.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// How many clients of one service port are remembered, about ten megabytes: as many as nf_tables keeps in a set without
/// a size (`nft_dynset_init` in net/netfilter/nft_dynset.c).
const MAX_CLIENTS: usize = 65_535;

/// The clients of one service port.
#[derive(Debug, Default)]
pub(super) struct Affinity {
    recent: HashMap<IpAddr, Entry>,
    older: HashMap<IpAddr, Entry>,
    /// When the recent generation began.
    since: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    endpoint: SocketAddr,
    /// When the client's last connection came.
    last: Instant,
}

impl Affinity {
    /// The endpoint that a client had within `timeout`.
    pub(super) fn recall(&self, client: IpAddr, timeout: Duration, now: Instant) -> Option<SocketAddr> {
        let entry = self.recent.get(&client).or_else(|| self.older.get(&client))?;
        (now.saturating_duration_since(entry.last) < timeout).then_some(entry.endpoint)
    }

    /// Remembers the endpoint of a client.
    pub(super) fn note(&mut self, client: IpAddr, endpoint: SocketAddr, timeout: Duration, now: Instant) {
        let is_old = self.since.is_none_or(|since| now.saturating_duration_since(since) >= timeout);
        if is_old || self.recent.len() >= MAX_CLIENTS / 2 {
            self.older = std::mem::take(&mut self.recent);
            self.since = Some(now);
        }
        self.older.remove(&client);
        self.recent.insert(client, Entry { endpoint, last: now });
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

    impl Affinity {
        fn len(&self) -> usize {
            self.recent.len() + self.older.len()
        }
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
    fn a_client_of_the_older_generation_is_known_until_its_time_is_over() {
        let (mut affinity, start) = (Affinity::default(), Instant::now());
        let endpoint: SocketAddr = "10.244.0.11:8080".parse().unwrap();
        let at = |seconds| start + Duration::from_secs(seconds);
        affinity.note(client(1), endpoint, TIMEOUT, start);
        affinity.note(client(2), endpoint, TIMEOUT, at(50));
        affinity.note(client(3), endpoint, TIMEOUT, at(60));
        assert_eq!(affinity.older.len(), 2);
        assert_eq!(affinity.recall(client(2), TIMEOUT, at(109)), Some(endpoint));
        assert_eq!(affinity.recall(client(2), TIMEOUT, at(110)), None);
    }

    #[test]
    fn clients_that_do_not_come_back_do_not_pile_up() {
        let (mut affinity, start) = (Affinity::default(), Instant::now());
        let endpoint: SocketAddr = "10.244.0.11:8080".parse().unwrap();
        for number in 0..100_000 {
            affinity.note(client(number), endpoint, TIMEOUT, start + Duration::from_secs(number.into()));
        }
        assert!(affinity.len() <= 1024, "{} clients", affinity.len());
    }

    #[test]
    fn of_millions_of_clients_some_are_remembered_and_returning_ones_among_them() {
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
            assert!(affinity.len() <= MAX_CLIENTS);
        }
        assert!(affinity.len() >= MAX_CLIENTS / 2);
        let later = start + Duration::from_secs(600);
        assert_eq!(affinity.recall(faithful, hour, later), Some(endpoint));
        assert_eq!(affinity.recall(client(299_999), hour, later), Some(endpoint));
        assert_eq!(affinity.recall(client(1), hour, later), None);
    }
}
