//! The tests that [`conformance_tests!`](crate::conformance_tests) makes, and the macros that it is made of.

/// Makes the tests of a [`Conformance`](crate::conformance::Conformance), which a function of this module gives, in a
/// module `conformance`: one of each scenario, by group and name, `random_clusters_come_to_what_a_fresh_start_makes`,
/// `every_declared_difference_is_of_a_scenario`, and `what_holds_is_what_the_table_says`.
///
/// The table is the file `testdata/conformance.md` of the crate that the tests are of. It is to be there, if empty,
/// and is part of the tests' executable, which may run where the file is not. `BLESS=1` writes it.
///
/// Attributes before the function's name are put on each test that has a node served:
///
/// ```
/// # use portolan_testkit::conformance::{Candidate, Conformance};
/// # struct Mine;
/// # impl Candidate for Mine {
/// #     fn factory(&self) -> Box<dyn portolan_core::BackendFactory> { unimplemented!() }
/// #     fn holds(&self, _: portolan_core::IpFamily) -> String { String::new() }
/// # }
/// # fn kit() -> Conformance<Mine> { Conformance::new(|_node| Mine) }
/// portolan_testkit::conformance_tests!(#[ignore = "needs the module of mine"] kit);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance_tests {
    ($(#[$attribute:meta])* $kit:ident) => {
        $crate::conformance_tests_with! { [$(#[$attribute])*] $kit ($) }
    };
}

/// [`conformance_tests!`](crate::conformance_tests), given a `$` to write a macro with that knows the attributes.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests_with {
    ($attributes:tt $kit:ident ($dollar:tt)) => {
        mod conformance {
            use super::$kit as kit_under_test;

            macro_rules! play_each_scenario {
                ($dollar($dollar group:ident $dollar scenarios:tt)*) => {
                    $dollar($crate::play_group! { $attributes kit_under_test $dollar group $dollar scenarios })*
                };
            }

            $crate::every_scenario!(play_each_scenario);

            $crate::play_random_clusters! { $attributes kit_under_test }

            #[test]
            fn every_declared_difference_is_of_a_scenario() {
                kit_under_test().assert_declarations_fit();
            }

            #[test]
            fn what_holds_is_what_the_table_says() {
                $crate::assert_table!(kit_under_test());
            }
        }
    };
}

/// Asserts that what a [`Conformance`](crate::conformance::Conformance) holds is what the table of the crate says that
/// asks, which is `testdata/conformance.md`. `BLESS=1` writes it.
#[macro_export]
macro_rules! assert_table {
    ($kit:expr) => {{
        const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/conformance.md");
        $kit.assert_table(
            ::std::path::Path::new(PATH),
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/conformance.md")),
        );
    }};
}

/// Makes a test of each scenario of a group, for [`conformance_tests!`](crate::conformance_tests).
#[doc(hidden)]
#[macro_export]
macro_rules! play_group {
    ($attributes:tt $kit:ident $group:ident { $($scenario:ident)* }) => {
        mod $group {
            $($crate::play_scenario! { $attributes $kit $group $scenario })*
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! play_scenario {
    ([$($attribute:tt)*] $kit:ident $group:ident $scenario:ident) => {
        #[test]
        $($attribute)*
        fn $scenario() {
            let name = concat!(stringify!($group), "::", stringify!($scenario));
            $crate::netns::isolated(|| super::$kit().play(name));
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! play_random_clusters {
    ([$($attribute:tt)*] $kit:ident) => {
        #[test]
        $($attribute)*
        fn random_clusters_come_to_what_a_fresh_start_makes() {
            $crate::netns::isolated(|| $kit().try_random_clusters());
        }
    };
}
