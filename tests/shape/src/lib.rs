//! What a change may cost: allocations, messages and operations, none of which depends on the speed of a machine.
//!
//! Times say how fast a machine is; these say how the work grows. Each test drives the real state, plan and
//! nftables backend over tables in memory, and counts what the thread allocates between an event's arrival and
//! the commit. A change is measured in a small cluster and in one twenty times as large: it must cost the same
//! in both, and no more than a bound that stands in the test with the figure it came from.
//!
//! Not counted are the making of the events (their JSON is decoded in `source`, which does not lend its decoder),
//! the tables in memory themselves, and what libnftnl allocates in C to write a message.
//!
//! Medians of several changes are compared, not single ones: a hash table that happens to grow, or a tree's node
//! that happens to be split, is paid by one change and serves many.

#[cfg(test)]
mod changes;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod cost;
#[cfg(test)]
mod loads;
#[cfg(test)]
mod node;
#[cfg(test)]
mod walk;
