//! The programs of iptables, the text that they print, and the names of kube-proxy's chains.
//!
//! | module | content |
//! |---|---|
//! | [`names`] | tables, and chains by name |
//! | [`programs`] | which programs there are, and running them |
//! | [`saved`] | lines of `iptables-save` |
//! | [`stale`] | removing chains of kube-proxy's names that no running mode uses |
//! | `run` | one program: limited in time and output, and always reaped |

pub mod names;
pub mod programs;
mod run;
pub mod saved;
pub mod stale;

pub use run::find;

/// kube-proxy's metric of failed runs of `iptables-restore`, which the iptables and ipvs modes report.
pub const RESTORE_FAILURES: &str = "kubeproxy_sync_proxy_rules_iptables_restore_failures_total";
