//! Connections to a VIP that tell where it leads.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use socket2::{Domain, Socket, Type};

use super::{Moment, Sight};
use crate::objects::PORT;
use crate::stage::CLIENT;

/// How long a change may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long one answer may take before the question counts as lost.
const ANSWER: Duration = Duration::from_millis(500);
/// Between two questions about a change: none is too many.
pub(crate) const CLOSELY: Duration = Duration::ZERO;
/// Between two questions while a whole cluster is loaded, which leaves the processors to the proxy.
pub(crate) const LOADING: Duration = Duration::from_millis(1);

/// Asks until the answer is as awaited; between which questions it became so.
pub(crate) fn wait(vip: Ipv4Addr, sight: Sight, between: Duration) -> anyhow::Result<Moment> {
    ask(vip, between, |reached| match sight {
        Sight::Leads(endpoint) => reached == Some(endpoint),
        // Untranslated it is the VIP itself that answers; or it is refused.
        Sight::Ends => reached.is_none_or(|address| address == vip),
    })
    .with_context(|| format!("waited for {sight:?}"))
}

/// Asks until a VIP leads to any endpoint.
pub(crate) fn wait_served(vip: Ipv4Addr) -> anyhow::Result<Moment> {
    ask(vip, LOADING, |reached| reached.is_some_and(|address| address != vip))
}

fn ask(vip: Ipv4Addr, between: Duration, is_it: impl Fn(Option<Ipv4Addr>) -> bool) -> anyhow::Result<Moment> {
    let deadline = Instant::now() + PATIENCE;
    let (mut after, mut reached) = (None, None);
    while Instant::now() < deadline {
        let asked = Instant::now();
        reached = probe(vip).ok();
        if is_it(reached) {
            return Ok(Moment { after, by: Instant::now() });
        }
        after = Some(asked);
        std::thread::sleep(between);
    }
    anyhow::bail!("connections to {vip} reach {reached:?} still")
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
