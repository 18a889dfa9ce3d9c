//! What is asked for on the command line.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::scenario::{Bench, SCENARIOS, Scale};

/// How the program is used.
pub(crate) const USAGE: &str = "\
portolan-bench [--mode MODE] [--scenario NAME...] [--quick | --small] [--markdown] [--json FILE] [--curves FOLDER]
portolan-bench compare BEFORE.json AFTER.json
portolan-bench draw REPORT.json FOLDER

  --mode MODE        the proxy's mode; nftables unless said otherwise
  --scenario NAME... only these: cold step vip churn rolling restart memory growth connect shape
  --quick            the smallest size and few repetitions of each
  --small            very small sizes for debug builds, and checks of what a change costs
  --markdown         the table as Markdown
  --json FILE        writes the figures there as well
  --curves FOLDER    draws curves there; --scenario growth has the rows for them

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
    pub(crate) mode: String,
    pub(crate) scale: Scale,
    /// All that are not left out unless named, when empty.
    pub(crate) scenarios: Vec<String>,
    pub(crate) is_markdown: bool,
    pub(crate) json: Option<PathBuf>,
    pub(crate) curves: Option<PathBuf>,
}

impl Run {
    /// What scenarios are told.
    pub(crate) fn bench(&self) -> Bench {
        Bench { mode: self.mode.clone(), scale: self.scale }
    }

    /// Whether to run a scenario of this name.
    pub(crate) fn wants(&self, name: &str, only_by_name: bool) -> bool {
        if self.scenarios.is_empty() {
            !only_by_name
        } else {
            self.scenarios.iter().any(|wanted| wanted == name)
        }
    }
}

/// Reads the arguments after the program's name.
pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> anyhow::Result<Task> {
    let mut run = Run {
        mode: "nftables".to_owned(),
        scale: Scale::Full,
        scenarios: Vec::new(),
        is_markdown: false,
        json: None,
        curves: None,
    };
    let mut arguments = arguments.into_iter().peekable();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs another argument"));
        match argument.as_str() {
            "compare" => return Ok(Task::Compare(value()?.into(), value()?.into())),
            "draw" => return Ok(Task::Draw(value()?.into(), value()?.into())),
            "--help" | "-h" => return Ok(Task::Help),
            "--mode" => run.mode = value()?,
            "--quick" => run.scale = Scale::Quick,
            "--small" => run.scale = Scale::Small,
            "--markdown" => run.is_markdown = true,
            "--json" => run.json = Some(value()?.into()),
            "--curves" => run.curves = Some(value()?.into()),
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
    let is_known =
        ["connect", "shape"].contains(&name.as_str()) || SCENARIOS.iter().any(|known| known.name == name);
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

    #[test]
    fn several_scenarios_may_follow_one_flag() {
        let run = run("--scenario cold step --mode iptables --quick");
        assert_eq!(run.scenarios, ["cold", "step"]);
        assert_eq!((run.mode.as_str(), run.scale), ("iptables", Scale::Quick));
        assert!(run.wants("cold", false) && !run.wants("vip", false));
    }

    #[test]
    fn without_names_everything_runs_but_what_must_be_named() {
        let run = run("--json /dev/null");
        assert!(run.wants("cold", false) && !run.wants("growth", true));
        assert_eq!((run.mode.as_str(), run.scale), ("nftables", Scale::Full));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for line in ["--scenario none", "--mode", "--fast", "compare one.json"] {
            assert!(parse(line.split_whitespace().map(str::to_owned)).is_err(), "{line}");
        }
    }
}
