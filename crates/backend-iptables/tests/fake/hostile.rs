//! A Service that asks for as much as its author can write.

use std::io::{self, Write};

use portolan_backend_iptables::programs::ProgramError;
use portolan_backend_iptables::tables::Tables;
use portolan_core::BackendError;
use portolan_testkit::hostile::{assert_work_follows_the_length_of_lists, assert_work_is_bounded, lengths};
use proptest::prelude::*;

use super::*;

/// Tables that accept everything and store nothing, so that only the backend's own work counts. Comparisons
/// find what was loaded first: nothing.
#[derive(Debug, Default)]
struct Forgetful;

impl Tables for Forgetful {
    fn save(&mut self, _: &mut dyn FnMut(&str)) -> Result<(), ProgramError> {
        Ok(())
    }

    fn restore(
        &mut self,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), ProgramError> {
        write(&mut io::sink()).unwrap();
        Ok(())
    }

    fn clean(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    fn chains_at_once(&self) -> usize {
        1_000
    }
}

fn backend(family: IpFamily) -> IptablesBackend<Forgetful> {
    IptablesBackend::new(family, Forgetful, Options::default())
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
