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
mod report;
mod scenario;
mod through_api;

use std::path::PathBuf;

use anyhow::Context as _;

use report::{Machine, Report};

#[expect(clippy::print_stdout, reason = "the tables are what the program is for")]
fn main() -> anyhow::Result<()> {
    let mut json = None;
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
            "--markdown" => markdown = true,
            "--quick" => quick = true,
            "--connect" => only_connect = true,
            other => anyhow::bail!("unknown argument {other}; there are --quick, --connect and --json FILE"),
        }
    }
    let mut rows = if only_connect { Vec::new() } else { scenario::run_all(quick)? };
    connect::run(&mut rows)?;
    let report = Report { machine: Machine::read()?, mode: "nftables".to_owned(), rows };
    print!("{}", if markdown { report.markdown() } else { report.table() });
    if let Some(path) = json {
        report.write_json(&path)?;
    }
    Ok(())
}
