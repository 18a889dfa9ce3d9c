//! Lays a plan out as flat nftables maps and commits the difference.
//!
//! Services and endpoints are elements; the rules are a page long and stay as they
//! are while the cluster changes. Only a service with session affinity, or with more than
//! four addresses from outside the cluster, has chains and maps
//! of its own (`affinity.rs`). Per family there is one table, `ip portolan` and
//! `ip6 portolan`. One packet's way from a pod to a cluster IP:
//!
//! 1. `nat-prerouting` → `services`: destination, protocol and port lead through one
//!    verdict map to a *class* chain such as `cluster-3`: a cluster IP with three endpoints.
//!    If nobody serves it the map says `refuse`, and the sender is told at once.
//! 2. `cluster-3` marks the packet if it did not come from a pod, draws a number below
//!    three, and looks destination and number up in `endpoints`. All services with
//!    three endpoints share the chain.
//! 3. `filter-forward`: if it still goes to a cluster IP, it asked for a port that nobody
//!    serves, and is refused.
//! 4. `nat-postrouting` masquerades marked packets, and those of an endpoint that
//!    reached itself.
//!
//! Some chains are there only while a Service needs them: those that check source ranges, and
//! those that learn which endpoint a client with affinity got (`layout/feature.rs`).
//!
//! Traffic policies are the choice of what a VIP's slots hold: under an internal Local policy
//! those of a cluster IP are this node's endpoints. External addresses under the Local policy
//! have two sets of slots, and a class for both numbers, `external-5-local-2`: what is on this
//! node draws from five, everybody else from two, and from none with `local-0`, which drops.
//!
//! Always holds: for a VIP with N endpoints the slots 0 to N−1 exist before its verdict
//! says N, and are removed after it says less (`commit.rs`); slot 0 exists as long as the
//! verdict does, so that a packet that read an old verdict still finds an endpoint.
//!
//! ```text
//! NodePlan ─▶ loaded (slots, classes, counts) ─▶ edits, sticky edits ─▶ transactions
//!             adopt (what the kernel holds) ──▶
//! ```

mod adopt;
mod affinity;
pub mod backend;
pub mod class;
mod commit;
mod counted;
pub mod delivery;
mod edits;
pub mod factory;
pub mod frontend;
mod guard;
mod hooked;
pub mod layout;
mod load;
mod loaded;
pub mod slots;
pub mod stale;
mod sticky;
mod structure;

pub use backend::{Clock, NftablesBackend};
pub use factory::NftablesFactory;
