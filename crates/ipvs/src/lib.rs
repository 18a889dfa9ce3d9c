//! Virtual servers, address sets, and the device that carries their addresses, over netlink.
//!
//! What the ipvs mode has in the kernel besides rules, one module for each part of the kernel that it is in:
//!
//! | module | what | by |
//! |---|---|---|
//! | `servers` | IPVS: virtual servers, their destinations, schedulers, time-outs | generic netlink |
//! | `sets` | ipset: sets of addresses and ports that rules ask | netfilter netlink |
//! | `links` | interfaces and their addresses | rtnetlink |
//!
//! Reading gives plain values, and changing takes a list of them. A list is sent in few system calls,
//! whatever its length, and its changes are independent: one that the kernel rejects does not keep
//! the others from being carried out. Removing what is gone already is success.
//!
//! Nothing here knows of Services, and nothing is started: no `ipvsadm`, no `ipset`, no `ip`.

mod address;
mod error;
mod links;
mod sent;
mod servers;
mod sets;

pub use error::IpvsError;
pub use links::{AddressChange, AddressWatch, DEVICE, Link, Links};
pub use portolan_netlink::route::InterfaceAddress;
pub use sent::{Carried, Sent};
pub use servers::{
    Destination, Server, ServerChange, ServerKey, ServerSettings, Servers, Timeouts, server_flag,
};
pub use sets::{Capacity, Destroyed, Member, Set, SetChange, SetKind, Sets};
