//! Real tables and real packets, one fresh network namespace per test.
//!
//! The tests are this package's unit tests, so that all of them are one executable. The network they run in
//! comes from `portolan_testkit::netns`; `harness` proves that network itself before anything that stands
//! on it is believed.

#[cfg(test)]
mod api;
#[cfg(test)]
mod binary;
#[cfg(test)]
mod candidate;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod continuity;
#[cfg(test)]
mod counted;
#[cfg(test)]
mod drop_in;
#[cfg(test)]
mod events;
#[cfg(test)]
mod fallback;
#[cfg(test)]
mod families;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod init_only;
#[cfg(test)]
mod model;
#[cfg(test)]
mod modes;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod soak;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod startup;
#[cfg(test)]
mod takeover;
#[cfg(test)]
mod traffic;
#[cfg(test)]
mod udp;

#[cfg(test)]
use candidate::kit;

#[cfg(test)]
portolan_testkit::conformance_tests!(kit);
