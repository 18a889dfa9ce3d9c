//! Measures loads and changes on this machine's kernel, from the event to the commit.
//!
//! Run by `make bench`, in a network namespace of its own: it fills nf_tables with up to
//! half a million elements. What is timed is the path inside the proxy, with nothing
//! pretended: `State::handle`, `State::prepare`, and the nftables backend with its netlink
//! socket until the kernel has acknowledged the commit. The scenarios with `-api` in their
//! name begin at an API server instead.
//!
//! Nothing is judged here. The machines are too different; read ratios.

mod cluster;
mod connect;
mod measure;
mod progress;
mod report;
mod scenario;
mod through_api;

use std::path::PathBuf;

use anyhow::Context as _;

use progress::Progress;
use report::{Machine, Report};

#[expect(clippy::print_stdout, reason = "the tables are what the program is for")]
fn main() -> anyhow::Result<()> {
    let mut json = None;
    let mut curves = None;
    let mut markdown = false;
    let mut quick = false;
    let mut only_connect = false;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => json = Some(PathBuf::from(arguments.next().context("--json needs a file name")?)),
            "compare" => {
                let mut file = || arguments.next().context("compare needs two files").map(PathBuf::from);
                let (before, after) = (Report::read_json(&file()?)?, Report::read_json(&file()?)?);
                print!("{}", before.compare(&after));
                return Ok(());
            }
            "draw" => {
                let mut file =
                    || arguments.next().context("draw needs a file and a folder").map(PathBuf::from);
                return Report::read_json(&file()?)?.write_curves(&file()?);
            }
            "--curves" => curves = Some(PathBuf::from(arguments.next().context("--curves needs a folder")?)),
            "--markdown" => markdown = true,
            "--quick" => quick = true,
            "--connect" => only_connect = true,
            other => anyhow::bail!(
                "unknown argument {other}; there are --quick, --connect, --markdown, --json FILE and --curves FOLDER"
            ),
        }
    }
    let mut progress = Progress::new(if only_connect { 1 } else { 2 });
    let mut rows = if only_connect { Vec::new() } else { scenario::run_all(quick, &mut progress)? };
    progress.scenario("connections");
    connect::run(&mut rows)?;
    drop(progress);
    let report = Report { machine: Machine::read()?, mode: "nftables".to_owned(), rows };
    print!("{}", if markdown { report.markdown() } else { report.table() });
    if let Some(path) = json {
        report.write_json(&path)?;
    }
    if let Some(folder) = curves {
        report.write_curves(&folder)?;
    }
    Ok(())
}
