//! Waiting for something to come true, with an end to the patience.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{NetnsError, Program};

/// How long to sleep between two looks: short beside any kernel commit worth measuring.
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

/// Looks again and again until `holds` is true.
///
/// `what` completes the sentence "gave up waiting until …". The first look is at once, and one more
/// follows after the deadline, so a slow machine gets a last chance.
///
/// # Errors
/// [`NetnsError::Deadline`] when `patience` runs out.
pub fn wait_until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) -> Result<(), NetnsError> {
    let start = Instant::now();
    loop {
        let last = start.elapsed() >= patience;
        if holds() {
            return Ok(());
        }
        if last {
            return Err(NetnsError::Deadline { what: what.to_owned(), waited: start.elapsed() });
        }
        sleep(BETWEEN_LOOKS);
    }
}

/// Waits until an IPv6 address of this thread's network namespace has its local route: the kernel makes that in
/// its own time, and packets to the address are not the host's before.
///
/// # Errors
/// [`NetnsError::Deadline`] when it has none after a minute; `ip` cannot be run.
pub fn wait_until_local(address: &str) -> Result<(), NetnsError> {
    let list = Program::new("ip").args(["-6", "route", "show", "table", "local"]);
    let route = format!("local {address} ");
    let mut failed = Ok(());
    wait_until(&format!("{address} has a local route"), Duration::from_secs(60), || match list.run() {
        Ok(routes) => routes.contains(&route),
        Err(error) => {
            failed = Err(error);
            true
        }
    })?;
    failed
}
