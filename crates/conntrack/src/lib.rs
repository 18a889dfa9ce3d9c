//! Finds and removes stale UDP flows in the kernel's connection tracking, for every backend.
//!
//! `portolan_core::flows` decides which flows are stale; [`Conntrack`] is the [`FlowCleaner`] that
//! carries it out over ctnetlink, the netlink subsystem of connection tracking. No program is
//! started, nothing is kept between two calls but the sockets, and what is not UDP is never touched.
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
//!    A filter keeps entries from being sent, not from being looked at: the kernel walks its whole
//!    table for every list, and leaves packets waiting on that processor until it has an answer to
//!    send. So several narrow lists cost less than a wide one only up to a number that grows with the
//!    table (`cost`).
//! 3. Judge every flow listed, and of those to a node port ask routing whether the address is ours.
//!
//! That is [`find_stale`]. The caller judges what was found once more, by the newest plan, and has it deleted by
//! [`remove`]: by original tuple, zone and number, many in one netlink message.
//!
//! # What always holds
//!
//! * A filter only saves work. Every flow is judged here before it goes, and a kernel that lists
//!   something a filter excludes (before Linux 5.8 it does not know filters) is never sent one again.
//! * An entry that was made anew since it was listed stays, because its number differs: it is a hash of
//!   the entry's tuples and of where it lies in memory (`nf_ct_get_id`).
//! * Deleting names one entry, and always by its tuple: a request without one empties the table. Newer
//!   kernels also delete by filter (tried on 6.18), which does not serve here: they do not say how many
//!   flows went, have IPv6 addresses the wrong way round, and cannot spare a list of endpoints.
//! * A dump that changes disturbed is tried [`LIST_ATTEMPTS`] times; then what it showed is used. The
//!   flows it may lack are found by the next check of everything.
//!
//! [`FlowCleaner`]: portolan_core::FlowCleaner
//! [`find_stale`]: portolan_core::FlowCleaner::find_stale
//! [`remove`]: portolan_core::FlowCleaner::remove

mod cleaner;
mod cost;
mod entry;
mod error;
mod filter;
#[cfg(test)]
mod inserted;
mod own;
mod table;
mod wire;

pub use cleaner::Conntrack;
pub use error::ConntrackError;
pub use table::LIST_ATTEMPTS;
