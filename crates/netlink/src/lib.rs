//! Netlink sockets, sequence numbers, acknowledgements, dumps and extended errors.
//!
//! The part of netlink that every subsystem shares; `nf_tables`, connection
//! tracking and IPVS bring only their own messages, and those about routing, which several speak, are in [`route`]. [`NetlinkSocket`]
//! talks, [`Batch`] and [`MessageWriter`] write, [`MessageIter`] and
//! [`AttributeIter`] read. [`Monitor`] listens to what the kernel tells everybody. [`xtables`] is not netlink: it asks the tables of
//! iptables-legacy, and is here for what it has in common with the rest, a socket and the kernel's structures.
//!
//! Reading works on any bytes: lengths are checked against what is there, and
//! nothing here panics on input.

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

pub use answer::Refusal;
pub use attribute::{Attribute, AttributeIter};
pub use batch::Batch;
pub use error::NetlinkError;
pub use generic::{GENERIC_HEADER_LEN, generic_header};
pub use message::{HEADER_LEN, Message, MessageIter, MessageWriter, TooLong, flag};
pub use monitor::{Heard, Monitor};
pub use socket::{NetlinkSocket, Protocol, Steadiness};
