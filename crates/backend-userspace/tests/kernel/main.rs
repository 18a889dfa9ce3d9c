//! The userspace mode with real sockets, each test in its own network and with no more privileges than the
//! crate's documentation asks for.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod candidate;
mod descriptors;
mod detection;
mod families;
mod foreign;
mod held;
mod hops;
mod hostile;
mod idle;
mod lifecycle;
mod limits;
mod log;
mod model;
mod node;
mod privileges;
mod streams;
mod taken;
mod udp;

use candidate::kit;
use portolan_testkit::conformance::Standing;
use portolan_testkit::scenario::all;

portolan_testkit::conformance_tests!(kit);

#[test]
fn no_scenario_is_left_out_as_a_whole() {
    for named in all() {
        let standing = kit().standing(named.name);
        assert!(!matches!(standing, Standing::LeftOut(_)), "{}: {standing}", named.name);
    }
}
