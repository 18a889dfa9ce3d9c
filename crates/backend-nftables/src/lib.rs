//! Lays a plan out as flat nftables maps and commits the difference.
