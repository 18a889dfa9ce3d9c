//! Netlink sockets, sequence numbers, acknowledgements, dumps and extended errors.

mod error;

pub use error::NetlinkError;
