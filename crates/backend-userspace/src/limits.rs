//! How many listeners and sessions there may be, in all and for one Service.
//!
//! Listeners and sessions share the file descriptors of the process; UDP sessions also share the ports of the host. One
//! rule divides each of them: a Service gets another one while it has less than three times what is free. So the busiest
//! Service gets at most three quarters, the next one three quarters of the rest, and a new Service always gets some,
//! without a number that a user has to choose (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory
//! packet switches", 1998). `maxSessionsPerService` sets a fixed number in addition.
//!
//! Invariant: what was admitted counts for its Service until its [`Permit`] is dropped.

mod host;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use portolan_core::ObjectName;
use portolan_core::retry::LogLimiter;
use tracing::warn;

use crate::counters::{Count, Counters};

/// A Service gets more while it has less than so many times what is free.
const SHARE: usize = 3;
/// How long a warning is suppressed after it was logged.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A TCP connection, which takes two descriptors.
    Tcp,
    /// A UDP client, which takes one; the client's side uses the listener.
    Udp,
    /// A listener, which takes one.
    Listener,
}

/// A limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// The configured number of sessions.
    Sessions,
    /// The configured number of sessions of one Service.
    OfService,
    /// The file descriptors of this process.
    Descriptors,
    /// The file descriptors of the host.
    HostDescriptors,
    /// The memory of the host.
    Memory,
    /// The ports of the host, of which each UDP session takes one.
    Ports,
}

impl Limit {
    /// The limit behind an error to get a socket.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        match error.raw_os_error() {
            Some(libc::EMFILE) => Some(Self::Descriptors),
            Some(libc::ENFILE) => Some(Self::HostDescriptors),
            Some(libc::ENOBUFS | libc::ENOMEM) => Some(Self::Memory),
            _ => None,
        }
    }

    /// The limit and the setting that changes it.
    fn text(self) -> &'static str {
        match self {
            Self::Sessions => "sessions (--userspace-max-sessions)",
            Self::OfService => "sessions of one Service (--userspace-max-sessions-per-service)",
            Self::Descriptors => "open files of this process (RLIMIT_NOFILE: LimitNOFILE=, ulimit -n)",
            Self::HostDescriptors => "open files of this host (fs.file-max)",
            Self::Memory => "memory of this host",
            Self::Ports => "ports for UDP (half of net.ipv4.ip_local_port_range)",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// Why a session or a listener was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full {
    pub(crate) limit: Limit,
    /// Whether the Service has its part, and what is free is left to other Services. If not, nothing is free.
    of_service: bool,
}

/// The limits of the process and what is used of them.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) counters: Arc<Counters>,
    max_sessions: usize,
    max_sessions_per_service: usize,
    max_udp_sessions: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    descriptors: host::Descriptors,
    services: HashMap<ObjectName, Usage>,
    /// By the text of the limit.
    log_limiter: LogLimiter,
}

/// What one Service uses with all its ports in both IP families.
#[derive(Debug)]
struct Usage {
    /// By [`Kind`].
    held: [usize; 3],
    log_limiter: LogLimiter,
}

impl Default for Usage {
    fn default() -> Self {
        Self { held: [0; 3], log_limiter: log_limiter() }
    }
}

impl Usage {
    fn sessions(&self) -> usize {
        self.held[Kind::Tcp as usize] + self.held[Kind::Udp as usize]
    }
}

impl Limits {
    /// Limits of so many sessions in all and for each Service, where zero means no such limit.
    pub(crate) fn new(counters: Arc<Counters>, max_sessions: usize, max_sessions_per_service: usize) -> Self {
        let or_unlimited = |max| if max == 0 { usize::MAX } else { max };
        let descriptors = host::descriptors();
        Self {
            counters,
            max_sessions: or_unlimited(max_sessions),
            max_sessions_per_service: or_unlimited(max_sessions_per_service),
            max_udp_sessions: host::ports() / 2,
            state: Mutex::new(State { descriptors, services: HashMap::new(), log_limiter: log_limiter() }),
        }
    }

    /// How many pipes there may be besides listeners and sessions.
    pub(crate) fn max_pipes(&self) -> usize {
        self.state().descriptors.pipes / 2
    }

    /// Reads the limit of open files again, which an administrator may have changed.
    pub(crate) fn refresh(&self) {
        self.state().descriptors = host::descriptors();
    }

    /// Admits one more session or listener of a Service.
    pub(crate) fn admit(self: &Arc<Self>, kind: Kind, service: &ObjectName) -> Result<Permit, Full> {
        let mut state = self.state();
        let (free, limit) = self.free(kind, &state);
        let usage = state.services.get(service);
        let (held, sessions) = usage.map_or((0, 0), |usage| (usage.held[kind as usize], usage.sessions()));
        if free == 0 {
            return Err(Full { limit, of_service: false });
        }
        if kind != Kind::Listener && sessions >= self.max_sessions_per_service {
            return Err(Full { limit: Limit::OfService, of_service: true });
        }
        if !is_fair(held, free) {
            return Err(Full { limit, of_service: true });
        }
        state.services.entry(service.clone()).or_default().held[kind as usize] += 1;
        self.count(kind).add(1);
        if kind != Kind::Listener {
            self.counters.accepted.add(1);
        }
        Ok(Permit { limits: Arc::clone(self), service: service.clone(), kind })
    }

    /// How many more there may be of a kind, and the limit that is nearest.
    fn free(&self, kind: Kind, state: &State) -> (usize, Limit) {
        let [tcp, udp, listeners] = [Kind::Tcp, Kind::Udp, Kind::Listener].map(|kind| self.count(kind).get());
        let descriptors = state.descriptors.for_clients.saturating_sub(2 * tcp + udp + listeners);
        let sessions = self.max_sessions.saturating_sub(tcp + udp);
        let ports = self.max_udp_sessions.saturating_sub(udp);
        let nearer = |one: (usize, Limit), other: (usize, Limit)| if other.0 < one.0 { other } else { one };
        let of_session = nearer((descriptors / 2, Limit::Descriptors), (sessions, Limit::Sessions));
        match kind {
            Kind::Tcp => of_session,
            Kind::Udp => nearer(of_session, (ports, Limit::Ports)),
            Kind::Listener => {
                let free = state.descriptors.listeners.saturating_sub(listeners);
                (free.min(descriptors), Limit::Descriptors)
            }
        }
    }

    fn count(&self, kind: Kind) -> &Count {
        match kind {
            Kind::Tcp => &self.counters.tcp_sessions,
            Kind::Udp => &self.counters.udp_sessions,
            Kind::Listener => &self.counters.listeners,
        }
    }

    /// Counts a session that was rejected, and logs why.
    pub(crate) fn count_rejected(&self, full: Full, service: &ObjectName) {
        self.counters.refused_by_limit.add(1);
        let limit = full.limit;
        if !full.of_service {
            return self.log(limit);
        }
        self.counters.refused_by_share.add(1);
        if let Some(usage) = self.state().services.get_mut(service)
            && usage.log_limiter.fail("", Instant::now())
        {
            let sessions = usage.sessions();
            warn!(%service, sessions, %limit, "Session limit of Service reached; rejecting its new sessions");
        }
    }

    /// Counts a session that could not be started because of this error.
    pub(crate) fn count_failed(&self, error: &io::Error) {
        match Limit::of(error) {
            Some(limit) => {
                self.counters.refused_by_limit.add(1);
                self.log(limit);
            }
            None => self.counters.failed.add(1),
        }
    }

    /// Logs a limit of the process, at most every ten seconds.
    pub(crate) fn log(&self, limit: Limit) {
        if self.state().log_limiter.fail(limit.text(), Instant::now()) {
            let (tcp, udp) = (self.counters.tcp_sessions.get(), self.counters.udp_sessions.get());
            warn!(%limit, tcpSessions = tcp, udpSessions = udp, "Session limit reached; rejecting new sessions");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One session or listener, which counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    limits: Arc<Limits>,
    service: ObjectName,
    kind: Kind,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.limits.state();
        if let Some(usage) = state.services.get_mut(&self.service) {
            usage.held[self.kind as usize] -= 1;
            if usage.held == [0; 3] {
                state.services.remove(&self.service);
            }
        }
        self.limits.count(self.kind).subtract(1);
    }
}

/// Whether one Service may have one more when it has `used` and `free` are left.
pub(crate) fn is_fair(used: usize, free: usize) -> bool {
    used < free.saturating_mul(SHARE)
}

fn log_limiter() -> LogLimiter {
    LogLimiter::new(LOG_INTERVAL, LOG_INTERVAL)
}

#[cfg(test)]
mod tests;
