//! A Service that asks for as much as its author can write.

use std::time::Instant;

use portolan_testkit::hostile::{assert_work_follows_the_length_of_lists, assert_work_is_bounded, lengths};
use proptest::prelude::*;

use super::*;

/// A backend whose time stands still: what is due later counts for no other change, however long the machine takes.
fn backend(family: IpFamily) -> NftablesBackend<FakeTables> {
    let (now, tables) = (Instant::now(), FakeTables::new().with_features(Features::default()));
    NftablesBackend::new(family, Arc::new(Mutex::new(tables))).with_clock(Arc::new(move || now))
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
