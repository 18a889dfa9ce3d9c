//! Keeps asking in the background while a test changes things.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use super::{Caller, NetnsError, PodCounts, Transport, wait_until};

/// How long a prober rests between two questions, so that one leaves time for the proxy on a small machine.
const REST: Duration = Duration::from_micros(500);

/// What a [`Prober`] saw.
#[derive(Clone, Debug, Default)]
pub struct ProbeReport {
    /// All outcomes.
    pub tally: PodCounts,
    /// The first failures in order: when, counted from the prober's start, and why.
    pub first_failures: Vec<(Duration, String)>,
    /// The longest time from one answer to the next.
    pub longest_gap: Duration,
}

/// A thread that opens connection after connection until it is stopped.
#[derive(Debug)]
pub struct Prober {
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    report: ProbeReport,
    stop: bool,
}

impl Prober {
    /// Starts asking `to`, one question at a time, about a thousand a second.
    ///
    /// # Errors
    /// When the caller's namespace cannot be entered.
    pub fn start(caller: &Caller, transport: Transport, to: SocketAddr) -> Result<Self, NetnsError> {
        let state = Arc::new(Mutex::new(State::default()));
        let thread = caller.namespace().spawn({
            let (caller, state) = (caller.clone(), Arc::clone(&state));
            move || probe(&caller, transport, to, &state)
        })?;
        Ok(Self { state, thread: Some(thread) })
    }

    /// What was seen so far.
    pub fn so_far(&self) -> ProbeReport {
        lock(&self.state).report.clone()
    }

    /// Waits until this many more questions have been asked, so that a change has met traffic.
    ///
    /// # Errors
    /// When `patience` runs out.
    pub fn wait_for_attempts(&self, more: u64, patience: Duration) -> Result<(), NetnsError> {
        let attempts = || lock(&self.state).report.tally.attempts();
        let goal = attempts() + more;
        wait_until(&format!("{more} more questions are asked"), patience, || attempts() >= goal)
    }

    /// Waits until this pod has answered at least once more.
    ///
    /// # Errors
    /// When `patience` runs out.
    pub fn wait_for_pod(&self, pod: &str, patience: Duration) -> Result<(), NetnsError> {
        let answers = || lock(&self.state).report.tally.answers_of(pod);
        let before = answers();
        wait_until(&format!("{pod} answers"), patience, || answers() > before)
    }

    /// Stops asking and reports.
    pub fn stop(mut self) -> ProbeReport {
        lock(&self.state).stop = true;
        // It cannot panic; if it did, its report would show too few attempts.
        drop(self.thread.take().map(JoinHandle::join));
        self.so_far()
    }
}

impl Drop for Prober {
    /// A test that fails midway still stops asking.
    fn drop(&mut self) {
        lock(&self.state).stop = true;
    }
}

fn probe(caller: &Caller, transport: Transport, to: SocketAddr, state: &Mutex<State>) {
    let start = Instant::now();
    let mut last_answer = start;
    while !lock(state).stop {
        let outcome = caller.ask(transport, to);
        let now = Instant::now();
        let mut state = lock(state);
        state.report.tally.count(&outcome);
        match outcome {
            Ok(_) => {
                state.report.longest_gap = state.report.longest_gap.max(now - last_answer);
                last_answer = now;
            }
            Err(error) if state.report.first_failures.len() < 10 => {
                state.report.first_failures.push((now - start, error.reason()));
            }
            Err(_) => {}
        }
        drop(state);
        sleep(REST);
    }
}

/// A panic elsewhere does not make the counts wrong.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
