//! The backend with iptables' own programs, of both kinds: real tables and real packets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[path = "kernel/adoption.rs"]
mod adoption;
#[path = "kernel/candidate.rs"]
mod candidate;
#[path = "kernel/conformance.rs"]
mod conformance;
#[path = "kernel/continuity.rs"]
mod continuity;
#[path = "kernel/differences.rs"]
mod differences;
#[path = "kernel/factory.rs"]
mod factory;
#[path = "kernel/failures.rs"]
mod failures;
#[path = "kernel/interference.rs"]
mod interference;
#[path = "kernel/loopback.rs"]
mod loopback;
#[path = "kernel/node.rs"]
mod node;

/// Makes a test for each kind of iptables of a function that takes the kind.
macro_rules! with_both_kinds {
    ($($name:ident)*) => {
        mod with_nft {
            $(
                #[test]
                fn $name() {
                    portolan_testkit::netns::isolated(|| super::$name(portolan_backend_iptables::programs::Variant::Nft));
                }
            )*
        }

        mod with_legacy {
            $(
                #[test]
                fn $name() {
                    portolan_testkit::netns::isolated(|| super::$name(portolan_backend_iptables::programs::Variant::Legacy));
                }
            )*
        }
    };
}

pub(crate) use with_both_kinds;
