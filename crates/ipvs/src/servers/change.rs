//! Changes of virtual servers.

use std::net::SocketAddr;

use portolan_netlink::{MessageWriter, generic_header};

use super::key::{ServerKey, ServerSettings};
use super::wire;
use crate::sent::Request;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerChange {
    /// Creates a virtual server without destinations.
    Add(ServerKey, ServerSettings),
    /// Lets one choose in another way.
    Edit(ServerKey, ServerSettings),
    /// Removes one with all its destinations.
    Remove(ServerKey),
    /// Lets one lead to a further destination, with network address translation.
    AddDestination(ServerKey, SocketAddr, u32),
    /// Changes a destination's weight.
    Weigh(ServerKey, SocketAddr, u32),
    /// Takes a destination away. What becomes of its connections is up to `net.ipv4.vs.expire_nodest_conn`.
    RemoveDestination(ServerKey, SocketAddr),
}

impl Request for ServerChange {
    fn kind(&self, family: u16) -> u16 {
        family
    }

    fn write(&self, message: &mut MessageWriter<'_>) {
        let command = match self {
            Self::Add(..) => wire::NEW_SERVICE,
            Self::Edit(..) => wire::SET_SERVICE,
            Self::Remove(_) => wire::DELETE_SERVICE,
            Self::AddDestination(..) => wire::NEW_DESTINATION,
            Self::Weigh(..) => wire::SET_DESTINATION,
            Self::RemoveDestination(..) => wire::DELETE_DESTINATION,
        };
        message.bytes(&generic_header(command, wire::VERSION));
        match self {
            Self::Add(key, settings) | Self::Edit(key, settings) => {
                wire::write_server(message, key, settings);
            }
            Self::Remove(key) => wire::write_key(message, key),
            Self::AddDestination(key, to, weight) | Self::Weigh(key, to, weight) => {
                wire::write_key(message, key);
                wire::write_destination(message, *to, Some(*weight));
            }
            Self::RemoveDestination(key, to) => {
                wire::write_key(message, key);
                wire::write_destination(message, *to, None);
            }
        }
    }

    /// A server that is not there is `ESRCH`, a destination `ENOENT` (`ip_vs_genl_set_cmd`).
    fn is_done_by(&self, errno: i32) -> bool {
        match self {
            Self::Remove(_) => errno == libc::ESRCH,
            Self::RemoveDestination(..) => errno == libc::ESRCH || errno == libc::ENOENT,
            _ => false,
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Add(key, settings) => {
                format!("add virtual server {key} with scheduler {}", settings.scheduler)
            }
            Self::Edit(key, settings) => {
                format!("change virtual server {key} to scheduler {}", settings.scheduler)
            }
            Self::Remove(key) => format!("remove virtual server {key}"),
            Self::AddDestination(key, to, _) => format!("let virtual server {key} lead to {to}"),
            Self::Weigh(key, to, weight) => format!("give {to} of virtual server {key} weight {weight}"),
            Self::RemoveDestination(key, to) => format!("take {to} away from virtual server {key}"),
        }
    }
}
