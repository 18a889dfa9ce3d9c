//! Which version we say we are.

/// Our version as kube-proxy would report its own: that of the kube-proxy whose behaviour we follow, with
/// ours behind the `+`, where semantic versioning puts what must not be compared.
pub const GIT_VERSION: &str = concat!("v1.36.2+portolan.", env!("CARGO_PKG_VERSION"));
