//! The node's own addresses, and the routes that make those of Services local.
//!
//! A route of type `local` is enough to listen at an address, and it is not an address of an interface, so
//! that programs which read the node's addresses do not see ours. Ours carry a protocol number of their own.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use portolan_core::IpFamily;

/// Marks routes as ours; no other program is known to use it (rtnetlink(7), /etc/iproute2/rt_protos).
const PROTOCOL: u8 = 81;

/// Why the node's routes are not as they should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    /// The program is not there.
    #[error("could not run ip, of iproute2")]
    NotRun(#[source] std::io::Error),
    /// It does not like what it was told.
    #[error("ip refused: {0}")]
    Refused(String),
    /// The kernel does not report the node's addresses.
    #[error("could not list the node's addresses")]
    Unlisted(#[source] nix::Error),
}

/// Whether routes can be had.
pub(crate) fn probe() -> Result<(), String> {
    routes(IpFamily::V4).map(drop).map_err(|error| format!("the program ip, of iproute2 ({error})"))
}

/// The node's addresses on all interfaces, sorted, without loopback and link-local ones, which serve no client.
pub(crate) fn addresses(family: IpFamily) -> Result<Vec<IpAddr>, NodeError> {
    let interfaces = nix::ifaddrs::getifaddrs().map_err(NodeError::Unlisted)?;
    let address = |interface: nix::ifaddrs::InterfaceAddress| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::from(address.ip())))
    };
    let is_served = |address: &IpAddr| match address {
        IpAddr::V4(address) => !address.is_loopback(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    };
    let all = interfaces.filter_map(address).filter(|address| IpFamily::of(*address) == family);
    Ok(all.filter(is_served).collect::<BTreeSet<_>>().into_iter().collect())
}

/// The addresses that we made local.
pub(crate) fn routes(family: IpFamily) -> Result<BTreeSet<IpAddr>, NodeError> {
    let printed = ip(family, &["route", "show", "table", "local", "proto", &PROTOCOL.to_string()], "")?;
    // local 10.96.0.80 dev lo scope host
    let address = |line: &str| line.split_whitespace().nth(1)?.parse().ok();
    Ok(printed.lines().filter_map(address).collect())
}

/// Makes addresses local.
pub(crate) fn add<'a>(
    family: IpFamily,
    addresses: impl Iterator<Item = &'a IpAddr>,
) -> Result<(), NodeError> {
    batch(family, "replace", addresses)
}

/// Takes back what [`add`] did.
pub(crate) fn remove<'a>(
    family: IpFamily,
    addresses: impl Iterator<Item = &'a IpAddr>,
) -> Result<(), NodeError> {
    batch(family, "del", addresses)
}

fn batch<'a>(
    family: IpFamily,
    verb: &str,
    addresses: impl Iterator<Item = &'a IpAddr>,
) -> Result<(), NodeError> {
    let line = |address| {
        format!("route {verb} local {address} dev lo table local proto {PROTOCOL} metric {PROTOCOL}\n")
    };
    let lines: String = addresses.map(line).collect();
    if lines.is_empty() { Ok(()) } else { ip(family, &["-batch", "-"], &lines).map(drop) }
}

#[expect(clippy::disallowed_methods, reason = "an example may say with ip what it would say with netlink")]
fn ip(family: IpFamily, arguments: &[&str], input: &str) -> Result<String, NodeError> {
    let option = if family == IpFamily::V4 { "-4" } else { "-6" };
    let mut command = Command::new("ip");
    command.arg(option).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(NodeError::NotRun)?;
    if let Some(mut stdin) = child.stdin.take() {
        // It reads all before it prints, and says itself if it ended early.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(NodeError::NotRun)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(NodeError::Refused(String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")))
}
