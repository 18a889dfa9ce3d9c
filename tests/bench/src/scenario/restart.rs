//! The proxy ends and starts again on a kernel that holds everything: once with nothing to do, and once with a
//! change that was made while no proxy ran.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::step::{probed, probed_slice};
use super::{Bench, agreement};
use crate::background::Background;
use crate::findings::{Findings, Sheet};
use crate::objects::{Size, vip};
use crate::progress::Progress;
use crate::proxy::Proxy;
use crate::report::{Seen, Unit};
use crate::seen::{Generation, Notices, Sight, packet};
use crate::stage::Stage;

const SIZES: [Size; 2] = [Size::new(10_000, 2), Size::new(5_000, 50)];
/// How long it should take until it serves 10,000 Services again, in seconds.
const TARGET: f64 = 0.3;
/// Operations that are no writing of rules: each family's table is claimed.
const CLAIMS: f64 = 2.0;

pub(super) fn run(bench: &Bench, findings: &mut Findings, progress: &mut Progress) -> anyhow::Result<()> {
    bench.each_on_stage(&bench.sizes(&SIZES), progress, |stage, size| {
        let sheet = &mut findings.sheet("restart", *size);
        stage.fill(size.objects().chain(probed(*size)));
        let (proxy, _) = stage.start_loaded()?;
        let target = (size.services == 10_000).then_some(TARGET);
        let proxy = unchanged(bench, stage, proxy, target, sheet)?;
        changed(stage, proxy, *size, sheet)
    })
}

/// Nothing has changed, and so nothing is written.
fn unchanged(
    bench: &Bench,
    stage: &Stage,
    proxy: Proxy,
    target: Option<f64>,
    sheet: &mut Sheet<'_>,
) -> anyhow::Result<Proxy> {
    let traffic = Background::start(|wanted| {
        let (mut asked, mut failed) = (0, 0);
        while wanted.goes_on() {
            asked += 1;
            failed += u32::from(!is_served(vip(1)));
            // Leaves the processors to the proxy.
            std::thread::sleep(Duration::from_millis(1));
        }
        (asked, failed)
    });
    proxy.end()?;
    let of_kernel = || Ok::<_, anyhow::Error>((Notices::listen()?, Generation::follow()?));
    let of_kernel = bench.mode.has_elements().then(of_kernel).transpose()?;
    let mut proxy = stage.start()?;
    let page = proxy.wait_loaded()?;
    let (asked, failed) = traffic.end();
    let mut seen = None;
    if let Some((mut notices, generation)) = of_kernel {
        seen = generation.end()?.last;
        let commit = notices.drain()?;
        let elements = u32::try_from(commit.leads.len() + commit.ends.len())?;
        sheet.figure("elements changed", Seen::Outside, elements.into(), Unit::Count, None);
        sheet.expect(elements == 0, || {
            format!("the kernel reports changes where nothing had changed: {commit:?}")
        });
    }
    agreement::since_start(sheet, "from the start", proxy.started, seen, page.synced_at(), target);
    let operations = page.sum("portolan_sync_operations_sum").unwrap_or_default();
    sheet.count("operations", operations);
    sheet.figure("connections meanwhile", Seen::Outside, f64::from(asked), Unit::Count, None);
    if !bench.mode.relays() {
        sheet.figure("connections that failed", Seen::Outside, f64::from(failed), Unit::Count, Some(0.0));
        sheet.expect(operations <= CLAIMS, || format!("{operations} operations, where nothing had changed"));
        sheet.expect(failed == 0 && asked > 0, || format!("{failed} of {asked} connections failed"));
    }
    Ok(proxy)
}

/// An endpoint is replaced while no proxy runs.
fn changed(stage: &Stage, proxy: Proxy, size: Size, sheet: &mut Sheet<'_>) -> anyhow::Result<()> {
    proxy.end()?;
    let fresh = size.fresh(1);
    stage.api.apply(probed_slice(size, fresh));
    let mut proxy = stage.start()?;
    let seen = packet::wait(vip(size.services), Sight::Leads(fresh), packet::LOADING)?;
    let page = proxy.wait_loaded()?;
    let measure = "from the start to a change made meanwhile";
    agreement::since_start(sheet, measure, proxy.started, Some(seen), page.synced_at_of("IPv4"), None);
    proxy.end()
}

/// The VIP itself answers untranslated packets.
fn is_served(vip: Ipv4Addr) -> bool {
    packet::probe(vip).is_ok_and(|reached| reached != vip)
}
