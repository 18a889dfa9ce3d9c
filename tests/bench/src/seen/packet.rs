//! Connections to a VIP that tell where it leads.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use socket2::{Domain, Socket, Type};

use super::Sight;
use crate::objects::PORT;
use crate::stage::CLIENT;

/// How long a change may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long one answer may take before the question counts as lost.
const ANSWER: Duration = Duration::from_millis(500);

/// Asks until the answer is as awaited; the instant of that answer.
pub(super) fn wait(vip: Ipv4Addr, sight: Sight) -> anyhow::Result<Instant> {
    let deadline = Instant::now() + PATIENCE;
    let mut reached = None;
    while Instant::now() < deadline {
        reached = probe(vip).ok();
        let is_it = match sight {
            Sight::Leads(endpoint) => reached == Some(endpoint),
            // Untranslated it is the VIP itself that answers; or it is refused.
            Sight::Ends => reached.is_none_or(|address| address == vip),
        };
        if is_it {
            return Ok(Instant::now());
        }
    }
    anyhow::bail!("connections to {vip} reach {reached:?} still and do not come to {sight:?}")
}

/// Connects to a VIP; the address that the server was reached at.
pub(crate) fn probe(vip: Ipv4Addr) -> anyhow::Result<Ipv4Addr> {
    let mut socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    // A reset leaves nothing behind.
    socket.set_linger(Some(Duration::ZERO))?;
    socket.set_read_timeout(Some(ANSWER))?;
    // This limits connecting, too.
    socket.set_write_timeout(Some(ANSWER))?;
    socket.bind(&SocketAddr::from((CLIENT, 0)).into())?;
    socket
        .connect(&SocketAddr::from((vip, PORT)).into())
        .with_context(|| format!("no connection to {vip}"))?;
    let mut address = [0; 4];
    socket.read_exact(&mut address).with_context(|| format!("no answer from {vip}"))?;
    Ok(address.into())
}

/// Asks until a VIP leads to any endpoint; the instant of that answer.
pub(crate) fn wait_served(vip: Ipv4Addr) -> anyhow::Result<Instant> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if probe(vip).is_ok_and(|reached| reached != vip) {
            return Ok(Instant::now());
        }
    }
    anyhow::bail!("{vip} is not served")
}
