//! One chart: axes, curves, dashed targets, and a legend beside them where it can hide nothing.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Unit;
use super::span::{Scale, Span};

/// Pixels; readers scale it.
const SIZE: (u32, u32) = (860, 420);
/// Of these, the legend's.
const LEGEND: u32 = 190;
const FONT: &str = "Helvetica, Arial, sans-serif";
const INK: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(225, 225, 225);
/// Blue, vermilion, green, orange, purple and sky blue of the palette of Okabe and Ito, which the colour-blind
/// can distinguish.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(230, 159, 0),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
];
/// One for each target, darkest first.
const GREYS: [RGBColor; 3] = [RGBColor(90, 90, 90), RGBColor(140, 140, 140), RGBColor(175, 175, 175)];

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Plot<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Span, Span>>;

/// A named curve; points in the order of x.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    pub(super) label: &'static str,
    pub(super) scale: Scale,
}

/// What to draw.
pub(super) struct Chart {
    pub(super) title: &'static str,
    pub(super) x: Axis,
    pub(super) y: Axis,
    /// Of y.
    pub(super) unit: Unit,
    pub(super) series: Vec<Series>,
    pub(super) targets: Vec<Series>,
}

/// How a line looks, in the plot and in the legend.
#[derive(Clone, Copy)]
enum Look {
    Curve(RGBColor),
    Target(RGBColor),
}

impl Chart {
    /// The picture as text.
    pub(super) fn svg(&self) -> anyhow::Result<String> {
        let mut svg = String::new();
        {
            let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            root.fill(&WHITE)?;
            let (left, right) = root.split_horizontally(SIZE.0 - LEGEND);
            self.plot(&left)?;
            self.legend(&right)?;
            root.present()?;
        }
        Ok(svg)
    }

    fn plot(&self, canvas: &Canvas<'_>) -> anyhow::Result<()> {
        let values = |place: fn(&(f64, f64)) -> f64| {
            let series = self.series.iter().chain(&self.targets);
            series.flat_map(|series| &series.points).map(place).collect::<Vec<_>>()
        };
        let across = Span::sizes(self.x.scale, &values(|point| point.0));
        let upward = Span::figures(self.y.scale, self.unit, &values(|point| point.1));
        let mut plot = ChartBuilder::on(canvas)
            .caption(self.title, (FONT, 20).into_font().color(&INK))
            .margin(14)
            .x_label_area_size(48)
            .y_label_area_size(76)
            .build_cartesian_2d(across, upward)?;
        plot.configure_mesh()
            .max_light_lines(0)
            .bold_line_style(GRID)
            .axis_style(INK)
            .label_style((FONT, 14).into_font().color(&INK))
            .x_desc(self.x.label)
            .y_desc(self.y.label)
            .draw()?;
        self.lines().try_for_each(|(series, look)| self.draw(&mut plot, series, look))
    }

    /// Targets below curves.
    fn lines(&self) -> impl Iterator<Item = (&Series, Look)> {
        let targets = self.targets.iter().zip(GREYS.into_iter().map(Look::Target).cycle());
        targets.chain(self.series.iter().zip(COLOURS.into_iter().map(Look::Curve).cycle()))
    }

    fn draw(&self, plot: &mut Plot<'_, '_>, series: &Series, look: Look) -> anyhow::Result<()> {
        let points: Vec<_> =
            series.points.iter().map(|(x, y)| (self.x.scale.place(*x), self.y.scale.place(*y))).collect();
        match look {
            Look::Target(grey) => {
                plot.draw_series(DashedLineSeries::new(points, 10, 8, grey.stroke_width(2)))?;
            }
            Look::Curve(colour) => {
                plot.draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?;
                plot.draw_series(points.into_iter().map(|point| Circle::new(point, 4, colour.filled())))?;
            }
        }
        Ok(())
    }

    fn legend(&self, canvas: &Canvas<'_>) -> anyhow::Result<()> {
        let text = (FONT, 14).into_font().color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
        let curves = self.lines().filter(|(_, look)| matches!(look, Look::Curve(_)));
        let targets = self.lines().filter(|(_, look)| matches!(look, Look::Target(_)));
        for ((series, look), y) in curves.chain(targets).zip((64..).step_by(26)) {
            match look {
                Look::Target(grey) => {
                    for x in [0, 16] {
                        let dash = [(x, y), (x + 10, y)];
                        canvas.draw(&PathElement::new(dash, grey.stroke_width(2)))?;
                    }
                }
                Look::Curve(colour) => {
                    canvas.draw(&PathElement::new([(0, y), (26, y)], colour.stroke_width(2)))?;
                    // Not a circle, so that circles are points.
                    canvas.draw(&Rectangle::new([(9, y - 4), (17, y + 4)], colour.filled()))?;
                }
            }
            canvas.draw(&Text::new(series.name.as_str(), (36, y), text.clone()))?;
        }
        Ok(())
    }
}
