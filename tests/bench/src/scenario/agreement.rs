//! Whether the proxy's own metrics, the kernel's notices and packets tell of a commit alike.
//!
//! A commit is one moment, and there are three who tell of it. A packet that was led by the old rules began
//! before it. A notice is made by it. The proxy's metrics know of it once the kernel has acknowledged it. So
//! whatever the machine's speed, neither notice nor metrics may be of a time before the last question that the
//! old rules answered ([`Round::is_in_order`]).
//!
//! How far apart they are otherwise is the time to wake a thread, which a busy machine may do late for
//! one and not for another. So it is the fastest of many changes that must agree, within a [`FACTOR`].

mod means;

use std::time::Duration;

use super::Bench;
use super::step::{probed, probed_slice};
use crate::findings::{Findings, Sheet};
use crate::measure::{Samples, Start};
use crate::objects::{NAMESPACE, Size, name, service, slice, vip};
use crate::progress::Progress;
use crate::proxy::Proxy;
use crate::report::{Seen, Unit};
use crate::seen::{Moment, Record, Recorded, Sight, packet};
use crate::stage::Stage;

pub(super) use means::{Changed, PROGRAMMING, SYNC, TRANSACTION, means};

const SIZES: [Size; 2] = [Size::new(1_000, 2), Size::new(10_000, 2)];
/// How many times the fastest of one may be that of another.
const FACTOR: f64 = 4.0;
/// What the metrics lose of a moment by showing it as a floating-point number of seconds since 1970.
const ROUNDING: f64 = 1e-6;

/// How much later than now the metrics may say that something was, in seconds: two clocks are read one after the
/// other.
const CLOCKS: f64 = 0.001;

/// A kind of change. Each is made of numbers from zero on.
struct Kind {
    name: &'static str,
    make: fn(&Stage, Size, u32),
    /// The Service that it is of.
    service: fn(Size, u32) -> u32,
    sight: fn(Size, u32) -> Sight,
}

const KINDS: [Kind; 3] = [
    Kind {
        name: "endpoint replaced",
        make: |stage, size, round| {
            stage.api.apply(probed_slice(size, size.fresh(1 + round)));
        },
        service: |size, _| size.services,
        sight: |size, round| Sight::Leads(size.fresh(1 + round)),
    },
    Kind {
        name: "VIP added",
        make: |stage, size, round| {
            stage.api.apply(service(added(size, round)));
        },
        service: added,
        sight: |size, round| Sight::Leads(size.fresh(added(size, round))),
    },
    Kind {
        name: "VIP removed",
        make: |stage, size, round| {
            stage.api.delete("Service", NAMESPACE, &name(added(size, round)));
        },
        service: added,
        sight: |_, _| Sight::Ends,
    },
];

/// Behind the [`probed`] Service.
fn added(size: Size, round: u32) -> u32 {
    size.services + 1 + round
}

/// One change, told of by packets and the metrics.
struct Round {
    vip: std::net::Ipv4Addr,
    sight: Sight,
    written: Start,
    packet: Moment,
    /// Seconds from writing on, by the metrics.
    inside: f64,
    /// Whether the metrics had it when they were first asked after a packet had met it.
    is_told: bool,
}

pub(super) fn run(bench: &Bench, findings: &mut Findings, progress: &mut Progress) -> anyhow::Result<()> {
    bench.each_on_stage(&bench.sizes(&SIZES), progress, |stage, size| {
        at(bench, stage, *size, &mut findings.sheet("agreement", *size))
    })
}

fn at(bench: &Bench, stage: &Stage, size: Size, sheet: &mut Sheet<'_>) -> anyhow::Result<()> {
    stage.fill(size.objects().chain(probed(size)));
    let (mut proxy, before) = stage.start_loaded()?;
    let times = bench.choose(200, 50, 10);
    // Slices come by a watch of their own. They are there first, so that a Service is one change.
    let numbers = (0..times).map(|round| added(size, round));
    stage.fill(numbers.map(|number| slice(number, 0, std::iter::once(size.fresh(number)))));
    proxy.wait_slices(&before, times)?;
    for kind in &KINDS {
        let record = bench.mode.has_elements().then(Record::of_notices).transpose()?;
        let rounds: Vec<Round> =
            (0..times).map(|round| kind.once(stage, &mut proxy, size, round)).collect::<Result<_, _>>()?;
        let recorded = record.map(Record::end).transpose()?;
        judge(sheet, kind.name, &rounds, recorded.as_ref());
    }
    proxy.end()
}

impl Kind {
    /// Makes one change and hears everybody but the kernel.
    fn once(&self, stage: &Stage, proxy: &mut Proxy, size: Size, round: u32) -> anyhow::Result<Round> {
        let (vip, sight) = (vip((self.service)(size, round)), (self.sight)(size, round));
        let written = Start::now();
        (self.make)(stage, size, round);
        let packet = packet::wait(vip, sight, packet::CLOSELY)?;
        let mut asked = 0;
        let page = proxy.wait_for("the metrics tell of the change", |page| {
            asked += 1;
            page.synced_at().is_some_and(|at| written.until(at) > 0.0)
        })?;
        let inside = page.synced_at().map_or(f64::NAN, |at| written.until(at));
        Ok(Round { vip, sight, written, packet, inside, is_told: asked == 1 })
    }
}

impl Round {
    /// Seconds from writing on to the last question that the old rules answered.
    fn old(&self) -> f64 {
        self.packet.after.map_or(0.0, |after| (after - self.written.at).as_secs_f64())
    }

    /// When the kernel told of it, from writing on.
    fn notice(&self, recorded: &Recorded) -> Option<Duration> {
        let at = recorded.when(self.vip, self.sight)?;
        Some(at.saturating_duration_since(self.written.at))
    }

    /// Whether this time from writing on is after what the old rules still answered.
    fn is_in_order(&self, seconds: f64) -> bool {
        seconds + ROUNDING >= self.old()
    }
}

/// Takes down who told of the changes when, and whether that can be.
fn judge(sheet: &mut Sheet<'_>, kind: &str, rounds: &[Round], recorded: Option<&Recorded>) {
    let (mut packets, mut metrics, mut notices) =
        (Samples::default(), Samples::default(), Samples::default());
    for round in rounds {
        packets.push(round.packet.by - round.written.at);
        metrics.push(Duration::try_from_secs_f64(round.inside).unwrap_or_default());
        sheet.expect(round.is_in_order(round.inside), || {
            format!("{kind}: programmed {} s after it was written by the metrics, {} s later packets met what was before", round.inside, round.old())
        });
        let Some(recorded) = recorded else { continue };
        let notice = round.notice(recorded);
        sheet.expect(notice.is_some_and(|notice| round.is_in_order(notice.as_secs_f64())), || {
            format!(
                "{kind}: told of by the kernel after {notice:?}; packets met what was before at {} s",
                round.old()
            )
        });
        notices.extend(notice);
    }
    pair(sheet, &format!("{kind}, p50 by packet"), &packets, &metrics);
    if recorded.is_some() {
        // In other modes it is a program that commits, and the proxy hears of that when the program ends.
        let told = rounds.iter().filter(|round| round.is_told).count();
        sheet.expect(2 * told > rounds.len(), || {
            format!("{kind}: of {} changes that packets had met the metrics knew {told}", rounds.len())
        });
        pair(sheet, &format!("{kind}, p50 by notice"), &notices, &metrics);
        let ratio = notices.median() / packets.median();
        sheet.figure(&format!("{kind}: notice by packet"), Seen::Outside, ratio, Unit::Ratio, None);
        are_near(sheet, kind, &notices, &packets);
    }
    are_near(sheet, kind, &metrics, &packets);
}

/// Records how long after `start` everything was programmed, by the observer and by the metrics, which report it
/// in seconds since 1970.
pub(super) fn since_start(
    sheet: &mut Sheet<'_>,
    measure: &str,
    start: Start,
    seen: Option<Moment>,
    told: Option<f64>,
    target: Option<f64>,
) {
    let inside = told.map_or(f64::NAN, |at| start.until(at));
    if let Some(Moment { by, .. }) = seen {
        sheet.outside(measure, by.saturating_duration_since(start.at), target);
    }
    sheet.inside(measure, inside, target);
    let old = seen.and_then(|seen| seen.after).map(|after| after.saturating_duration_since(start.at));
    let between = [old.unwrap_or_default(), start.at.elapsed()].map(|bound| bound.as_secs_f64());
    sheet.expect(inside + ROUNDING >= between[0] && inside <= between[1] + CLOCKS, || {
        format!("{measure}: programmed after {inside} s by the metrics, and seen to be between {between:?}")
    });
}

/// The same from both sides, so that the table shows how they relate.
fn pair(sheet: &mut Sheet<'_>, measure: &str, outside: &Samples, inside: &Samples) {
    sheet.outside(measure, outside.percentile(50), None);
    sheet.inside(measure, inside.median(), None);
}

fn are_near(sheet: &mut Sheet<'_>, kind: &str, one: &Samples, other: &Samples) {
    let [one, other] = [one, other].map(|samples| samples.percentile(0).as_secs_f64());
    sheet.expect(one <= other * FACTOR && other <= one * FACTOR, || {
        format!("{kind}: one who tells of it takes {one} s at best, and another {other} s")
    });
}
