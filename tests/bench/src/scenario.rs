//! What is measured, each scenario on a stage of its own.
//!
//! A scenario does and takes down; what it should come to stands in the targets beside the figures, and
//! what must agree is compared by [`agreement`].

mod agreement;
mod churn;
mod cold;
mod growth;
mod memory;
mod restart;
mod rolling;
mod step;
mod vip;

use crate::findings::Findings;
use crate::objects::Size;
use crate::progress::Progress;

/// How much of a scenario is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// All sizes, many repetitions.
    Full,
    /// The smallest size, few repetitions.
    Quick,
    /// A few hundred Services, for a debug build.
    Small,
}

/// What every scenario is told.
#[derive(Debug, Clone)]
pub(crate) struct Bench {
    /// The proxy's `--mode`.
    pub(crate) mode: String,
    pub(crate) scale: Scale,
}

impl Bench {
    /// What of three suits the scale.
    fn choose<T>(&self, full: T, quick: T, small: T) -> T {
        match self.scale {
            Scale::Full => full,
            Scale::Quick => quick,
            Scale::Small => small,
        }
    }

    /// All of these sizes, the first of them, or one that is small.
    fn sizes(&self, full: &[Size]) -> Vec<Size> {
        self.choose(full.to_vec(), full.iter().copied().take(1).collect(), vec![Size::new(300, 2)])
    }
}

/// One scenario, or several that share a stage.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Bench, &mut Findings, &mut Progress) -> anyhow::Result<()>,
    /// Whether it is left out unless it is named.
    pub(crate) only_by_name: bool,
}

/// All scenarios, in the order in which they are run.
pub(crate) const SCENARIOS: [Scenario; 8] = [
    Scenario { name: "cold", run: cold::run, only_by_name: false },
    Scenario { name: "step", run: step::run, only_by_name: false },
    Scenario { name: "vip", run: vip::run, only_by_name: false },
    Scenario { name: "churn", run: churn::run, only_by_name: false },
    Scenario { name: "rolling", run: rolling::run, only_by_name: false },
    Scenario { name: "restart", run: restart::run, only_by_name: false },
    Scenario { name: "memory", run: memory::run, only_by_name: false },
    Scenario { name: "growth", run: growth::run, only_by_name: true },
];
