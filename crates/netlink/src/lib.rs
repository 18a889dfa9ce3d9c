//! Netlink sockets, sequence numbers, acknowledgements, dumps and extended errors.
//!
//! The part of netlink that all subsystems share. `nf_tables`, connection tracking and IPVS add their
//! own messages; those of rtnetlink, which several crates use, are in [`route`]. [`NetlinkSocket`]
//! exchanges messages, [`Batch`] and [`MessageWriter`] write them, [`MessageIter`] and
//! [`AttributeIter`] read them. [`Monitor`] receives multicast notices. [`xtables`] is not netlink: it
//! reads the tables of iptables-legacy with `getsockopt`.
//!
//! Reading works on any bytes: lengths are checked against the input, and nothing here panics on it.

mod answer;
mod attribute;
mod batch;
mod error;
mod generic;
mod message;
mod monitor;
pub mod route;
mod socket;
pub mod xtables;

pub use answer::Nack;
pub use attribute::{Attribute, AttributeIter};
pub use batch::Batch;
pub use error::NetlinkError;
pub use generic::{GENERIC_HEADER_LEN, generic_header};
pub use message::{HEADER_LEN, Message, MessageIter, MessageWriter, TooLong, flag};
pub use monitor::{Heard, Monitor};
pub use socket::{Consistency, NetlinkSocket, Protocol};
