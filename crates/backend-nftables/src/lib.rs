//! The nftables mode: represents a plan as flat maps and commits the difference.
//!
//! Services and endpoints are elements; the rules are a page long and do not change
//! with the cluster. Only a service with session affinity, or with more than four
//! external addresses, has dedicated chains and maps (`dedicated.rs`). Per family
//! there is one table, `ip portolan` and `ip6 portolan`. How a packet goes from a pod
//! to a cluster IP:
//!
//! 1. `nat-prerouting` → `services`: destination, protocol and port lead through one
//!    verdict map to a *class* chain such as `cluster-3`: a cluster IP with three endpoints.
//!    Without endpoints the map says `refuse`, and the packet is rejected.
//! 2. `cluster-3` marks the packet if it did not come from a pod, draws a number below
//!    three, and looks destination and number up in `endpoints`. All services with
//!    three endpoints share the chain.
//! 3. `filter-forward`: a packet that still goes to a cluster IP is for a port without a
//!    service, and is rejected.
//! 4. `nat-postrouting` masquerades marked packets, and those from an endpoint to itself.
//!
//! Some chains exist only while a Service needs them: those that check source ranges, and those
//! that learn which endpoint a client with affinity got (`layout/feature.rs`).
//!
//! Traffic policies decide what a VIP's slots hold: under an internal Local policy those of a
//! cluster IP are this node's endpoints. External addresses under the Local policy have two sets
//! of slots, and a class for both numbers, `external-5-local-2`: clients on this node draw from
//! five, others from two, and with `local-0` their packets are dropped.
//!
//! Always holds: for a VIP with N endpoints the slots 0 to N−1 exist before its verdict
//! says N, and are removed after it says less (`commit.rs`); slot 0 exists as long as the
//! verdict does, so that a packet that read an old verdict still finds an endpoint.
//!
//! ```text
//! NodePlan ─▶ programmed (slots, classes, counts) ─▶ edits, dedicated edits ─▶ transactions
//!             adopt (what the kernel holds) ──────▶
//! ```

mod adopt;
pub mod backend;
pub mod class;
mod commit;
mod dedicated;
pub mod delivery;
mod edits;
pub mod factory;
mod foreign_changes;
pub mod frontend;
mod full_sync;
pub mod layout;
mod programmed;
pub mod slots;
pub mod stale;
mod structure;

pub use backend::{Clock, NftablesBackend};
pub use factory::NftablesFactory;
