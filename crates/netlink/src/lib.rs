//! Netlink sockets, sequence numbers, acknowledgements, dumps and extended errors.
