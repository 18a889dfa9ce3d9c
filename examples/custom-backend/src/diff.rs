//! What a running worker is to be told so that its servers are the wanted ones.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::haproxy::Condition;
use crate::render::{Farm, server_name};

/// One change of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It comes.
    Add,
    /// It went and comes back before its last connection ended.
    Return,
    /// It gets nothing new, and goes with its last connection.
    Drain,
}

/// What turns the servers that a worker has into those of a farm.
pub(crate) fn turns(farm: &Farm, held: Option<&BTreeMap<SocketAddr, Condition>>) -> Vec<(SocketAddr, Turn)> {
    let condition = |server: &SocketAddr| held.and_then(|held| held.get(server));
    let come = farm.servers.iter().filter_map(|server| match condition(server) {
        None => Some((*server, Turn::Add)),
        Some(Condition::Draining) => Some((*server, Turn::Return)),
        Some(Condition::Ready) => None,
    });
    let ready = held.into_iter().flatten().filter(|(_, condition)| **condition == Condition::Ready);
    let gone = ready.filter(|(server, _)| farm.servers.binary_search(server).is_err());
    come.chain(gone.map(|(server, _)| (*server, Turn::Drain))).collect()
}

/// The command that makes a change, and what it answers.
pub(crate) fn command(farm: &str, server: &SocketAddr, turn: Turn) -> (String, &'static str) {
    let name = server_name(server);
    match turn {
        Turn::Add => (
            format!("add server {farm}/{name} {server}; enable server {farm}/{name}"),
            "New server registered.",
        ),
        Turn::Return => (format!("set server {farm}/{name} state ready"), ""),
        Turn::Drain => (format!("set server {farm}/{name} state maint"), ""),
    }
}

/// The command that deletes a server once its connections have ended, and what it answers then.
pub(crate) fn deletion(farm: &str, server: &SocketAddr) -> (String, &'static str) {
    (format!("del server {farm}/{}", server_name(server)), "Server deleted.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_come_return_and_drain_as_the_farm_says() {
        let [a, b, c, d]: [SocketAddr; 4] =
            ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"].map(|text| text.parse().unwrap());
        let farm = Farm { name: "f".into(), settings: String::new(), servers: vec![a, b, c] };
        let held =
            [(a, Condition::Ready), (b, Condition::Draining), (d, Condition::Ready)].into_iter().collect();
        let turns = turns(&farm, Some(&held));
        assert_eq!(turns, [(b, Turn::Return), (c, Turn::Add), (d, Turn::Drain)]);
    }

    #[test]
    fn names_of_servers_have_no_brackets() {
        let server = "[fd00::1]:80".parse().unwrap();
        let (command, _) = command("f", &server, Turn::Add);
        assert_eq!(command, "add server f/fd00::1:80 [fd00::1]:80; enable server f/fd00::1:80");
    }
}
