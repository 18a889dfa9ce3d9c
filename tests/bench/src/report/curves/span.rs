//! Axes: from where to where, and what is marked on them.

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use super::Unit;

/// How values become places along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    Linear,
    Logarithmic,
}

/// One axis and its marks.
///
/// A logarithmic one is drawn as a linear one over the logarithm: that leaves the choice of the marks to us.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Span {
    from: f64,
    to: f64,
    /// Where they stand, and their texts.
    marks: Vec<(f64, String)>,
}

impl Scale {
    /// Where a value stands. Nothing here is below zero; a zero, which has no logarithm, goes with the smallest.
    pub(super) fn place(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Logarithmic => value.max(1e-9).log10(),
        }
    }
}

impl Span {
    /// For sizes of clusters. A logarithmic axis is marked where something was measured.
    pub(super) fn sizes(scale: Scale, values: &[f64]) -> Self {
        match scale {
            Scale::Linear => Self::from_zero(largest(values), thousands),
            Scale::Logarithmic => {
                let mut sizes = values.to_vec();
                sizes.sort_by(f64::total_cmp);
                sizes.dedup();
                let marks: Vec<_> = sizes.iter().map(|size| (scale.place(*size), thousands(*size))).collect();
                let ends = (marks.first(), marks.last());
                let (from, to) =
                    if let (Some(first), Some(last)) = ends { (first.0, last.0) } else { (0.0, 1.0) };
                let margin = ((to - from) * 0.06).max(0.1);
                Self { from: from - margin, to: to + margin, marks }
            }
        }
    }

    /// For figures.
    pub(super) fn figures(scale: Scale, unit: Unit, values: &[f64]) -> Self {
        match scale {
            Scale::Linear => {
                let (factor, name) = unit.multiple(largest(values));
                Self::from_zero(largest(values), |value| shown(value / factor, name))
            }
            Scale::Logarithmic => Self::decades(values, |value| {
                let (factor, name) = unit.multiple(value);
                shown(value / factor, name)
            }),
        }
    }

    /// With four to eight round steps, so that the largest value has room above it.
    fn from_zero(largest: f64, text: impl Fn(f64) -> String) -> Self {
        let largest = if largest > 0.0 { largest } else { 1.0 };
        let magnitude = 10f64.powf((largest / 5.0).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * magnitude);
        let step = step.into_iter().find(|step| largest / step <= 6.0).unwrap_or(largest);
        let to = ((largest / step).floor() + 1.0) * step;
        let marks = (0..=8u8).map(|count| f64::from(count) * step).take_while(|mark| *mark < to + step / 2.0);
        Self { from: 0.0, to, marks: marks.map(|mark| (mark, text(mark))).collect() }
    }

    /// Whole powers of ten around all values.
    fn decades(values: &[f64], text: impl Fn(f64) -> String) -> Self {
        let places = || values.iter().map(|value| Scale::Logarithmic.place(*value));
        let from = places().fold(f64::INFINITY, f64::min).floor();
        let to = places().fold(f64::NEG_INFINITY, f64::max).floor() + 1.0;
        let (from, to) = if from.is_finite() && to.is_finite() { (from, to) } else { (0.0, 1.0) };
        let marks = (0..=20u8).map(|count| from + f64::from(count)).take_while(|mark| *mark < to + 0.5);
        Self { from, to, marks: marks.map(|mark| (mark, text(10f64.powf(mark)))).collect() }
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

/// A round number and its unit; what a sum of steps leaves behind the third digit is not meant.
fn shown(value: f64, unit: &str) -> String {
    format!("{} {unit}", (value * 1e3).round() / 1e3).trim_end().to_owned()
}

/// `250,000`.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl Ranged for Span {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    #[expect(clippy::cast_possible_truncation, reason = "pixels")]
    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let part = (value - self.from) / (self.to - self.from);
        first + (f64::from(last - first) * part).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // The hint asks for the lesser lines too, which there are none of.
        let most = hint.max_num_points().max(self.marks.len());
        self.marks.iter().map(|(place, _)| *place).take(most).collect()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Span {
    fn format_ext(&self, value: &f64) -> String {
        let mark = self.marks.iter().find(|(place, _)| place.total_cmp(value).is_eq());
        mark.map_or_else(String::new, |(_, text)| text.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_and_no_value_still_make_an_axis() {
        for values in [&[0.0][..], &[5.0], &[]] {
            for scale in [Scale::Linear, Scale::Logarithmic] {
                for span in [Span::sizes(scale, values), Span::figures(scale, Unit::Count, values)] {
                    assert!(span.to > span.from, "{span:?}");
                }
            }
        }
    }
}
