//! Measures loads and changes of the real binary on this machine's kernel, seen from outside.
//!
//! Run by `make bench`, in its own namespaces. The proxy is started on testkit's API server, which hands out
//! objects as a real one does; a change is timed from the instant before the API server takes it to the kernel's
//! commit, by the kernel's notice or by a packet. The proxy's own metrics are read besides, and a run
//! fails where they do not agree with what was seen.
//!
//! Figures are not judged here, only shown beside their targets: machines are too different. What does not
//! depend on the machine is judged by [`shape`].

mod arguments;
mod background;
mod connect;
mod findings;
mod manifests;
mod measure;
mod mode;
mod objects;
mod progress;
mod proxy;
mod report;
mod scenario;
mod seen;
mod shape;
mod stage;

use arguments::{Run, Task};
use findings::Findings;
use progress::Progress;
use report::{Machine, Report};
use scenario::SCENARIOS;

#[expect(clippy::print_stdout, reason = "the tables are what the program is for")]
fn main() -> anyhow::Result<()> {
    match arguments::parse(std::env::args().skip(1))? {
        Task::Help => print!("{}", arguments::USAGE),
        Task::Compare(before, after) => {
            print!("{}", Report::read_json(&before)?.compare(&Report::read_json(&after)?));
        }
        Task::Draw(report, folder) => Report::read_json(&report)?.write_curves(&folder)?,
        Task::Run(run) => {
            let findings = measure(&run)?;
            let report =
                Report { machine: Machine::read()?, mode: run.mode.to_string(), rows: findings.rows };
            print!("{}", if run.is_markdown { report.markdown() } else { report.table() });
            if let Some(path) = run.json {
                report.write_json(&path)?;
            }
            if let Some(folder) = run.curves {
                report.write_curves(&folder)?;
            }
            if let Some(folder) = run.into {
                report.added_to(&folder)?.keep(&folder)?;
            }
            anyhow::ensure!(findings.faults.is_empty(), "{}", findings.faults.join("\n"));
        }
    }
    Ok(())
}

/// Runs what is wanted.
fn measure(run: &Run) -> anyhow::Result<Findings> {
    let (bench, mut findings) = (run.bench(), Findings::default());
    let wanted: Vec<_> = SCENARIOS.iter().filter(|scenario| run.wants(scenario)).collect();
    let mut progress = Progress::new(wanted.len());
    for scenario in wanted {
        progress.scenario(scenario.name);
        (scenario.run)(&bench, &mut findings, &mut progress)?;
    }
    Ok(findings)
}
