//! Finds and removes stale UDP flows in the kernel's connection tracking, for every backend.
//!
//! `portolan_core::flows` decides which flows are stale; [`Conntrack`] is the [`FlowCleaner`] that
//! carries it out over ctnetlink, the netlink subsystem of connection tracking. No program is
//! started, only the sockets are kept between two calls, and only UDP flows are touched.
//!
//! # One search
//!
//! 1. Ask how many entries there are. None: done.
//! 2. List entries, filtered by the kernel, as narrowly as pays:
//!    * one list per address and port in question, which brings the flows of these frontends only;
//!    * for IPv6, one list per port, because kernels do the opposite of what a filter for an IPv6
//!      address asks (from Linux 5.8, where filters came, to 6.18 at least; see `filter`);
//!    * one list of all UDP flows where the frontends in question have too many ports.
//!
//!    A filter keeps entries from being sent, not from being visited: the kernel walks its whole
//!    table for every list, and packets wait on that processor until it has an answer to send. So
//!    several narrow lists cost less than a wide one only up to a number that grows with the table
//!    (`filter::narrow_lists`).
//! 3. Check every flow listed, and for those to a node port ask routing whether the address is local.
//!
//! That is [`find_stale`]. The caller checks the result again, by the newest plan, and deletes it with
//! [`remove`]: by original tuple, zone and id, many requests in one call.
//!
//! # What always holds
//!
//! * A filter only saves work. Every flow is checked here before it is deleted. A kernel that lists
//!   something a filter excludes (before Linux 5.8 it ignores filters) is not sent another one.
//! * An entry that was created again since it was listed stays, because its id differs: a hash of
//!   the entry's tuples and of its address in memory (`nf_ct_get_id`).
//! * A deletion names one entry, and always its tuple: a request without one empties the table. Newer
//!   kernels also delete by filter (tried on 6.18). That does not help here: they do not report how
//!   many flows they deleted, invert the comparison of IPv6 addresses, and cannot exclude endpoints.
//! * An interrupted dump is tried [`LIST_ATTEMPTS`] times; then its content is used. The next full
//!   check finds the flows it may lack.
//!
//! [`FlowCleaner`]: portolan_core::FlowCleaner
//! [`find_stale`]: portolan_core::FlowCleaner::find_stale
//! [`remove`]: portolan_core::FlowCleaner::remove

mod cleaner;
mod entry;
mod error;
mod filter;
mod table;
#[cfg(test)]
mod tests;
mod wire;

pub use cleaner::Conntrack;
pub use error::ConntrackError;
pub use table::LIST_ATTEMPTS;
