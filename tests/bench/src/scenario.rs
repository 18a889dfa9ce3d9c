//! What is measured, each scenario on its own stage.
//!
//! A scenario does and takes down; what it should come to stands in the targets beside the figures, and
//! what must agree is compared by [`agreement`].

mod addresses;
mod agreement;
mod churn;
mod cold;
mod forget;
mod growth;
mod memory;
mod restart;
mod rolling;
mod step;
mod vip;

use crate::findings::Findings;
use crate::mode::Mode;
use crate::objects::Size;
use crate::progress::Progress;
use crate::stage::{Stage, on_stage};
use crate::{connect, shape};

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
    pub(crate) mode: Mode,
    pub(crate) scale: Scale,
}

impl Bench {
    /// What of three suits the scale.
    pub(crate) fn choose<T>(&self, full: T, quick: T, small: T) -> T {
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

    /// Does the same for each of these, on its own stage.
    fn each_on_stage<T: Sync>(
        &self,
        each: &[T],
        progress: &mut Progress,
        mut work: impl FnMut(&Stage, &T) -> anyhow::Result<()> + Send,
    ) -> anyhow::Result<()> {
        for (done, one) in (1..).zip(each) {
            on_stage(&self.mode, |stage| work(stage, one))?;
            progress.step(done, each.len());
        }
        Ok(())
    }
}

/// One scenario, or several that share a stage.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Bench, &mut Findings, &mut Progress) -> anyhow::Result<()>,
    /// Whether it belongs to a run that names no scenarios.
    pub(crate) is_usual: fn(&Bench) -> bool,
}

/// All scenarios, in the order in which they are run.
pub(crate) const SCENARIOS: [Scenario; 13] = [
    Scenario { name: "cold", run: cold::run, is_usual: |_| true },
    Scenario { name: "step", run: step::run, is_usual: |_| true },
    Scenario { name: "vip", run: vip::run, is_usual: |_| true },
    // A relay would have to listen at each of them.
    Scenario { name: "addresses", run: addresses::run, is_usual: |bench| !bench.mode.relays() },
    Scenario { name: "agreement", run: agreement::run, is_usual: |_| true },
    Scenario { name: "churn", run: churn::run, is_usual: |_| true },
    Scenario { name: "rolling", run: rolling::run, is_usual: |_| true },
    Scenario { name: "restart", run: restart::run, is_usual: |_| true },
    Scenario { name: "memory", run: memory::run, is_usual: |_| true },
    Scenario { name: "growth", run: growth::run, is_usual: |_| false },
    Scenario { name: "connect", run: connect::run, is_usual: |_| true },
    // It looks into the maps that remember clients.
    Scenario { name: "forget", run: forget::run, is_usual: |bench| bench.mode.has_elements() },
    Scenario { name: "shape", run: shape::run, is_usual: |bench| bench.scale == Scale::Small },
];
