//! What is asked for on the command line.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::mode::Mode;
use crate::scenario::{Bench, SCENARIOS, Scale, Scenario};

/// How the program is used.
pub(crate) const USAGE: &str = "\
portolan-bench [--mode MODE] [--scenario NAME...] [--quick | --small] [--markdown] [--json FILE] [--curves FOLDER]
               [--into FOLDER]
portolan-bench compare BEFORE.json AFTER.json
portolan-bench draw REPORT.json FOLDER

  --mode MODE        the proxy's mode; nftables unless said otherwise
  --scenario NAME... only these: cold step vip addresses agreement churn rolling restart memory growth
                     connect forget shape; or all
  --quick            the smallest size and few repetitions of each
  --small            very small sizes for debug builds, and checks of what a change costs
  --markdown         the table as Markdown
  --json FILE        writes the figures there as well
  --curves FOLDER    draws curves there; the scenarios step, memory, growth and connect have the rows for them
  --into FOLDER      adds the figures to the run that is kept there: figures, a page and curves

The binary that is measured is named by PORTOLAN_BIN, or lies beside this one.
";

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Task {
    /// Measures.
    Run(Run),
    /// Sets two runs' figures side by side.
    Compare(PathBuf, PathBuf),
    /// Draws the curves of a report into a folder.
    Draw(PathBuf, PathBuf),
    /// Says how the program is used.
    Help,
}

/// What to measure and where to write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) mode: Mode,
    pub(crate) scale: Scale,
    /// When empty, all that are usual.
    pub(crate) scenarios: Vec<String>,
    pub(crate) is_markdown: bool,
    pub(crate) json: Option<PathBuf>,
    pub(crate) curves: Option<PathBuf>,
    /// Where a run is kept that this one becomes a part of.
    pub(crate) into: Option<PathBuf>,
}

impl Run {
    /// What scenarios are told.
    pub(crate) fn bench(&self) -> Bench {
        Bench { mode: self.mode.clone(), scale: self.scale }
    }

    /// Whether to run a scenario.
    pub(crate) fn wants(&self, scenario: &Scenario) -> bool {
        if self.scenarios.is_empty() {
            (scenario.is_usual)(&self.bench())
        } else {
            self.scenarios.iter().any(|wanted| wanted == scenario.name || wanted == "all")
        }
    }
}

/// Reads the arguments after the program's name.
pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> anyhow::Result<Task> {
    let mut run = Run {
        mode: Mode::default(),
        scale: Scale::Full,
        scenarios: Vec::new(),
        is_markdown: false,
        json: None,
        curves: None,
        into: None,
    };
    let mut arguments = arguments.into_iter().peekable();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs another argument"));
        match argument.as_str() {
            "compare" => return Ok(Task::Compare(value()?.into(), value()?.into())),
            "draw" => return Ok(Task::Draw(value()?.into(), value()?.into())),
            "--help" | "-h" => return Ok(Task::Help),
            "--mode" => run.mode = Mode::new(value()?),
            "--quick" => run.scale = Scale::Quick,
            "--small" => run.scale = Scale::Small,
            "--markdown" => run.is_markdown = true,
            "--json" => run.json = Some(value()?.into()),
            "--curves" => run.curves = Some(value()?.into()),
            "--into" => run.into = Some(value()?.into()),
            "--scenario" => {
                run.scenarios.push(known(value()?)?);
                while let Some(name) = arguments.next_if(|next| !next.starts_with('-')) {
                    run.scenarios.push(known(name)?);
                }
            }
            other => anyhow::bail!("unknown argument {other}; see --help"),
        }
    }
    Ok(Task::Run(run))
}

/// A scenario's name, if there is one.
fn known(name: String) -> anyhow::Result<String> {
    let is_known = name == "all" || SCENARIOS.iter().any(|known| known.name == name);
    anyhow::ensure!(is_known, "there is no scenario {name}; see --help");
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Run {
        match parse(line.split_whitespace().map(str::to_owned)) {
            Ok(Task::Run(run)) => run,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn wanted(run: &Run) -> Vec<&'static str> {
        SCENARIOS.iter().filter(|known| run.wants(known)).map(|known| known.name).collect()
    }

    #[test]
    fn several_scenarios_may_follow_one_flag() {
        let run = run("--scenario cold step --mode iptables --quick");
        assert_eq!(run.scenarios, ["cold", "step"]);
        assert_eq!((run.mode.name(), run.scale), ("iptables", Scale::Quick));
        assert_eq!(wanted(&run), ["cold", "step"]);
    }

    #[test]
    fn without_names_everything_runs_that_is_usual() {
        let run = run("--json /dev/null");
        let unusual: Vec<_> =
            SCENARIOS.iter().map(|known| known.name).filter(|name| !wanted(&run).contains(name)).collect();
        assert_eq!(unusual, ["growth", "shape"]);
        assert_eq!((run.mode.name(), run.scale), ("nftables", Scale::Full));
    }

    #[test]
    fn all_are_more_than_the_usual_ones() {
        assert_eq!(wanted(&run("--scenario all")).len(), SCENARIOS.len());
        let iptables = wanted(&run("--mode iptables"));
        assert!(!iptables.contains(&"forget") && iptables.contains(&"connect"));
    }

    #[test]
    fn unknown_arguments_are_rejected() {
        for line in ["--scenario none", "--mode", "--fast", "compare one.json"] {
            assert!(parse(line.split_whitespace().map(str::to_owned)).is_err(), "{line}");
        }
    }
}
