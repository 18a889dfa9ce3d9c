//! Terminating endpoints, which keep their connections and get no new ones: when they are checked and removed.
//!
//! The weight of a TCP endpoint that is no longer wanted is set to zero, which is all that a change costs. Its number of
//! connections is then read at growing intervals, and it is removed when there are none. If it is wanted again before
//! that, it gets its weight back.
//!
//! After a restart such endpoints are found in the kernel as destinations that no plan has.
//!
//! Pure: callers pass the time.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use portolan_ipvs::{Destination, ServerKey};

/// The time until an endpoint is first checked, and the longest time between two checks, which is kube-proxy's
/// interval.
const FIRST_CHECK: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// All terminating endpoints of one family.
#[derive(Debug, Default)]
pub(crate) struct Graceful {
    servers: HashMap<ServerKey, HashMap<SocketAddr, Check>>,
}

/// When an endpoint is checked next.
#[derive(Debug, Clone, Copy)]
struct Check {
    at: Instant,
    pause: Duration,
}

impl Graceful {
    /// Adds an endpoint that gets no new connections from now on.
    pub(crate) fn retire(&mut self, server: ServerKey, endpoint: SocketAddr, now: Instant) {
        let check = Check { at: now + FIRST_CHECK, pause: FIRST_CHECK };
        self.servers.entry(server).or_default().insert(endpoint, check);
    }

    /// Removes an endpoint that is wanted again. Returns whether it was terminating, and so is in the kernel.
    pub(crate) fn reclaim(&mut self, server: &ServerKey, endpoint: SocketAddr) -> bool {
        let Some(endpoints) = self.servers.get_mut(server) else { return false };
        let was_there = endpoints.remove(&endpoint).is_some();
        if endpoints.is_empty() {
            self.servers.remove(server);
        }
        was_there
    }

    /// Removes the endpoints of a virtual server that is removed.
    pub(crate) fn forget(&mut self, server: &ServerKey) {
        self.servers.remove(server);
    }

    /// The virtual servers that have endpoints to be checked.
    pub(crate) fn due(&self, now: Instant) -> Vec<ServerKey> {
        let is_due = |checks: &HashMap<SocketAddr, Check>| checks.values().any(|check| check.at <= now);
        let mut due: Vec<_> =
            self.servers.iter().filter(|(_, checks)| is_due(checks)).map(|(server, _)| *server).collect();
        due.sort_unstable();
        due
    }

    /// Checks the destinations of a virtual server. Returns the endpoints that can be removed now.
    pub(crate) fn checked(
        &mut self,
        server: &ServerKey,
        seen: &[Destination],
        now: Instant,
    ) -> Vec<SocketAddr> {
        let Some(endpoints) = self.servers.get_mut(server) else { return Vec::new() };
        let seen: HashMap<_, _> = seen.iter().map(|destination| (destination.socket, destination)).collect();
        let mut gone = Vec::new();
        endpoints.retain(|endpoint, check| {
            // Another process has removed it.
            let Some(destination) = seen.get(endpoint) else { return false };
            if is_idle(destination) {
                gone.push(*endpoint);
                return false;
            }
            if check.at <= now {
                check.pause = (check.pause * 2).min(LONGEST_PAUSE);
                check.at = now + check.pause;
            }
            true
        });
        if endpoints.is_empty() {
            self.servers.remove(server);
        }
        gone.sort_unstable();
        gone
    }

    /// The time until the next check, if there is one.
    pub(crate) fn next_check(&self, now: Instant) -> Option<Duration> {
        let checks = self.servers.values().flat_map(HashMap::values);
        checks.map(|check| check.at.saturating_duration_since(now)).min()
    }
}

/// Whether a destination has no connections left.
pub(crate) fn is_idle(destination: &Destination) -> bool {
    destination.active == 0 && destination.inactive == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> ServerKey {
        let address = "10.96.0.10".parse().unwrap();
        ServerKey { protocol: portolan_core::Protocol::Tcp, address, port: 80 }
    }

    fn endpoint(number: u8) -> SocketAddr {
        ([10, 244, 0, number], 8080).into()
    }

    fn seen(number: u8, active: u32, inactive: u32) -> Destination {
        Destination { socket: endpoint(number), weight: 0, active, inactive }
    }

    #[test]
    fn an_endpoint_is_removed_when_its_last_connection_has_ended() {
        let (mut graceful, start) = (Graceful::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        graceful.retire(server(), endpoint(1), start);
        assert_eq!(graceful.due(start), []);
        assert_eq!(graceful.next_check(start), Some(FIRST_CHECK));
        assert_eq!(graceful.due(after(1)), [server()]);
        assert_eq!(graceful.checked(&server(), &[seen(1, 1, 0)], after(1)), []);
        assert_eq!(graceful.checked(&server(), &[seen(1, 0, 1)], after(3)), []);
        assert_eq!(graceful.checked(&server(), &[seen(1, 0, 0)], after(7)), [endpoint(1)]);
        assert_eq!(graceful.next_check(after(7)), None);
    }

    #[test]
    fn pauses_grow_to_a_minute() {
        let (mut graceful, mut now) = (Graceful::default(), Instant::now());
        graceful.retire(server(), endpoint(1), now);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let pause = graceful.next_check(now).unwrap();
            pauses.push(pause.as_secs());
            now += pause;
            graceful.checked(&server(), &[seen(1, 1, 0)], now);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn an_endpoint_that_is_wanted_again_is_not_checked() {
        let (mut graceful, now) = (Graceful::default(), Instant::now());
        graceful.retire(server(), endpoint(1), now);
        assert!(graceful.reclaim(&server(), endpoint(1)));
        assert!(!graceful.reclaim(&server(), endpoint(1)));
        assert_eq!(graceful.next_check(now), None);
    }

    #[test]
    fn endpoints_that_another_process_removed_and_those_of_a_removed_server_are_forgotten() {
        let (mut graceful, now) = (Graceful::default(), Instant::now());
        graceful.retire(server(), endpoint(1), now);
        assert_eq!(graceful.checked(&server(), &[seen(2, 0, 0)], now), []);
        assert_eq!(graceful.next_check(now), None);
        graceful.retire(server(), endpoint(1), now);
        graceful.forget(&server());
        assert_eq!(graceful.next_check(now), None);
    }
}
