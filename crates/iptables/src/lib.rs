//! The programs of iptables, the text that they print, and the names of kube-proxy's chains.
//!
//! | module | content |
//! |---|---|
//! | [`names`] | tables, and chains by name |
//! | [`programs`] | which programs there are, and running them |
//! | [`saved`] | lines of `iptables-save` |

pub mod names;
pub mod programs;
pub mod saved;
