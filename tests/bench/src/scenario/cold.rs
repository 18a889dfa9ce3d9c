//! The first load: from the proxy's start, and from its first request for the lists, to the last commit.

use anyhow::Context as _;

use super::{Bench, agreement};
use crate::findings::{Findings, Sheet};
use crate::objects::{Size, vip};
use crate::progress::Progress;
use crate::report::{Seen, Unit};
use crate::seen::{Generation, Moment, packet};
use crate::stage::Stage;

/// Names, sizes, and how long the load and its longest transaction should take, in seconds.
const LOADS: [(&str, Size, f64, Option<f64>); 3] = [
    ("cold-10k", Size::new(10_000, 2), 0.5, None),
    ("cold-250k", Size::new(5_000, 50), 3.0, None),
    ("cold-50k", Size::new(50_000, 10), 6.0, Some(0.1)),
];
const SMALL: (&str, Size, f64, Option<f64>) = ("cold-small", Size::new(300, 2), 3.0, None);

pub(super) fn run(bench: &Bench, findings: &mut Findings, progress: &mut Progress) -> anyhow::Result<()> {
    let loads = bench.choose(LOADS.to_vec(), LOADS[..1].to_vec(), vec![SMALL]);
    bench.each_on_stage(&loads, progress, |stage, &(name, size, target, transaction)| {
        load(bench, stage, size, [Some(target), transaction], &mut findings.sheet(name, size))
    })
}

/// Loads a cluster of this size; targets are of the time from the first request, and of the longest
/// transaction.
pub(super) fn load(
    bench: &Bench,
    stage: &Stage,
    size: Size,
    [target, transaction]: [Option<f64>; 2],
    sheet: &mut Sheet<'_>,
) -> anyhow::Result<()> {
    stage.fill(size.objects());
    let (handing_out, bytes) = stage.hand_out_lists()?;
    sheet.outside("lists read and dropped", handing_out, None);
    #[expect(clippy::cast_precision_loss, reason = "lists have less than 2^53 bytes")]
    sheet.bytes("lists", bytes as f64, None);
    let generation = bench.mode.has_elements().then(Generation::follow).transpose()?;
    let mut proxy = stage.start()?;
    let (page, seen, told) = if let Some(generation) = generation {
        let page = proxy.wait_loaded()?;
        let commits = generation.end()?;
        sheet.figure("commits", Seen::Outside, f64::from(commits.count), Unit::Count, None);
        let told = page.synced_at();
        (page, commits.last.context("nothing was committed during the load")?, told)
    } else {
        let seen = all_answer(size)?;
        let page = proxy.wait_loaded()?;
        // Packets ask for no other family.
        let told = page.synced_at_of("IPv4");
        (page, seen, told)
    };
    let start = proxy.started;
    let asked = stage.first_asked(start.at).unwrap_or(start.at);
    sheet.outside("from the first request", seen.by - asked, target);
    agreement::since_start(sheet, "from the start", start, Some(seen), told, None);
    let of_first = |histogram: &str| page.get(&format!("{histogram}_sum{{ip_family=\"IPv4\"}}"));
    let sync = of_first(agreement::SYNC).unwrap_or_default();
    sheet.inside("sync", sync, None);
    sheet.expect(sync <= (seen.by - asked).as_secs_f64(), || {
        format!("the sync alone took {sync} s by the metrics")
    });
    if let Some(longest) = of_first(agreement::TRANSACTION) {
        sheet.inside("longest transaction", longest, transaction);
    }
    sheet.count("operations", page.sum("portolan_sync_operations_sum").unwrap_or_default());
    proxy.end()
}

/// Waits until VIPs all over the cluster lead to pods; when the last of them was found to.
fn all_answer(size: Size) -> anyhow::Result<Moment> {
    let samples = (0..size.services - 1).step_by((size.services as usize / 16).max(1));
    for number in samples {
        packet::wait_served(vip(number))?;
    }
    packet::wait_served(vip(size.services - 1))
}
