//! Everything in deploy/, checked against the API, the metrics and the programs that read it.
//!
//! Files that nothing compiles go stale in silence. Here each is read by who reads it in earnest: manifests by
//! `kubectl kustomize` and the API's own types, configurations and command lines by the real binary, the unit by
//! systemd, rules and queries by promtool and a running Prometheus that scrapes the real binary.
//!
//! The tests are this package's unit tests, so that all of them are one executable. They need the programs that
//! `tests/setup.sh` installs, and fail where one is missing.

#[cfg(test)]
mod access;
#[cfg(test)]
mod configuration;
#[cfg(test)]
mod dashboard;
#[cfg(test)]
mod files;
#[cfg(test)]
mod firewall;
#[cfg(test)]
mod image;
#[cfg(test)]
mod kustomize;
#[cfg(test)]
mod manifests;
#[cfg(test)]
mod node;
#[cfg(test)]
mod prometheus;
#[cfg(test)]
mod queries;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod strict;
#[cfg(test)]
mod unit;
