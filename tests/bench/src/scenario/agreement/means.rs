//! Means of many changes, from both sides.
//!
//! The proxy times its syncs, its longest transaction, and the whole way from the trigger time that a slice
//! carries (which is put there when it is written) until its rules are programmed. The first two lie within
//! what is timed from outside. The whole way is the same from both sides but for how the news of the commit
//! comes back: to the proxy as an acknowledgement, after which it tidies up before it looks at the clock,
//! and to us as a notice or an answer. Either may be first.
//!
//! A test on a busy machine judges none of this: one of the two sides may be woken up late, and a mean of few
//! changes shows it. What holds there anyway is judged [change by change](super).

use crate::findings::Sheet;
use crate::measure::Samples;
use crate::proxy::Page;
use crate::report::{Seen, Unit};
use crate::scenario::{Bench, Scale};

/// How long each attempt to write took.
pub(crate) const SYNC: &str = "kubeproxy_sync_proxy_rules_duration_seconds";
/// How long after its trigger a change was programmed.
pub(crate) const PROGRAMMING: &str = "kubeproxy_network_programming_duration_seconds";
/// The longest commit of each sync.
pub(crate) const TRANSACTION: &str = "portolan_sync_longest_transaction_seconds";

/// The difference of the means that is allowed, in seconds, and as a part of the mean seen from outside;
/// whichever is more. Waking up a listener or the next probe takes some 0.1 ms here; ten times that leaves
/// room for a machine that is busy.
const ALLOWED: (f64, f64) = (0.001, 0.5);

/// What was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scenario) enum Changed {
    /// Slices that say when they were written.
    Slices,
    /// Services, which carry no trigger time.
    Services,
}

/// Takes down the means that the metrics gave from the first page to the second, and compares them with
/// `samples`; `suffix` tells the way these were seen.
pub(in crate::scenario) fn means(
    bench: &Bench,
    sheet: &mut Sheet<'_>,
    suffix: &str,
    changed: Changed,
    samples: &Samples,
    [before, after]: [&Page; 2],
) {
    let outside = samples.mean();
    let is_small = bench.scale == Scale::Small;
    sheet.figure(&format!("mean{suffix}"), Seen::Outside, outside, Unit::Seconds, None);
    for (name, histogram) in [("sync", SYNC), ("transaction", TRANSACTION)] {
        // Each sync that succeeds is counted in both, in every mode.
        let Some(inside) = some_mean(sheet, name, suffix, after.mean(before, histogram)) else { continue };
        sheet.inside(&format!("{name} mean{suffix}"), inside, None);
        // A proxy that relays makes no transactions, and says of each sync that they took no time.
        let takes_none = name == "transaction" && bench.mode.relays();
        sheet.expect(inside > 0.0 || takes_none, || format!("a {name} took no time by the metrics{suffix}"));
        sheet.expect(is_small || inside <= outside, || {
            format!("a {name} took {inside:.6} s by the metrics, and {outside:.6} s in all{suffix}")
        });
    }
    if changed == Changed::Services {
        return;
    }
    let whole = after.mean(before, PROGRAMMING);
    let Some(inside) = some_mean(sheet, "whole way", suffix, whole) else { return };
    sheet.inside(&format!("mean{suffix}"), inside, None);
    let allowed = ALLOWED.0.max(outside * ALLOWED.1);
    sheet.expect(is_small || (outside - inside).abs() <= allowed, || {
        format!(
            "from outside it is {outside:.6} s{suffix} and by the metrics {inside:.6} s, which is more than {allowed:.6} s apart"
        )
    });
}

/// The mean, which must be there at every scale: what is not told of cannot disagree.
fn some_mean(sheet: &mut Sheet<'_>, name: &str, suffix: &str, mean: Option<f64>) -> Option<f64> {
    sheet.expect(mean.is_some(), || format!("the metrics tell of no {name}{suffix}"));
    mean
}
