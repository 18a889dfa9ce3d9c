//! A Service that asks for as much as its author can write.

use std::sync::Arc;
use std::time::Instant;

use portolan_backend_ipvs::{IpvsBackend, Options};
use portolan_core::IpFamily;
use portolan_testkit::hostile::{assert_work_follows_the_length_of_lists, assert_work_is_bounded, lengths};
use proptest::prelude::*;

use crate::kernel::FakeKernel;

/// A backend whose time stands still: what is due later, such as the removal of drained destinations, counts for no
/// other change, however long the machine takes.
fn backend(family: IpFamily) -> IpvsBackend<FakeKernel> {
    let now = Instant::now();
    IpvsBackend::new(family, Options::default(), FakeKernel::default()).with_clock(Arc::new(move || now))
}

#[test]
fn work_follows_the_length_of_each_list_and_another_service_does_not_notice() {
    assert_work_follows_the_length_of_lists(backend);
}

proptest! {
    #![proptest_config(portolan_testkit::random::cases(24))]

    #[test]
    fn lists_of_any_lengths_take_what_packets_can_be_told_apart_by(lengths in lengths()) {
        assert_work_is_bounded(backend, lengths);
    }
}
