//! Plots over the number of networks, as SVG.
//!
//! Both axes are logarithmic. Lines are named where they end, not in a legend, and differ in their marks as well as in
//! their colours (Okabe and Ito, for eyes that tell red from green and for those that do not). The background is
//! white, so that they are the same on a dark page. Sizes are for a phone: nothing is smaller than 11 pixels when
//! the plot is 360 wide.

use std::error::Error;

use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea as _};
use plotters::element::{Circle, Cross, PathElement, Rectangle, Text, TriangleMarker};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color as _, IntoFont as _, RGBColor, ShapeStyle, TextStyle, WHITE};

use super::super::report::Quartiles;

/// Width and height of a plot.
const SIZE: (u32, u32) = (760, 500);
/// What is beside the axes: left, right, top, bottom.
const MARGIN: (i32, i32, i32, i32) = (108, 276, 48, 68);
/// Pixels from one name to the next.
const NAME_HEIGHT: i32 = 25;
const INK: RGBColor = RGBColor(34, 34, 34);
const GRID: RGBColor = RGBColor(221, 221, 221);
const COLOURS: [RGBColor; 8] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
    RGBColor(136, 136, 136),
];

/// What is drawn.
#[derive(Debug, Clone)]
pub(crate) struct Plot {
    /// What the vertical axis counts; the other one counts networks.
    pub(crate) unit: &'static str,
    pub(crate) lines: Vec<Line>,
}

/// One contender.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) name: String,
    /// Its colour and mark, one of eight; 0 is drawn on top.
    pub(crate) style: usize,
    /// By the number of networks, the smallest first.
    pub(crate) points: Vec<(usize, Quartiles)>,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

/// An axis from one power of ten to another, and where it is on the picture.
#[derive(Debug, Clone, Copy)]
struct Axis {
    /// The exponents at its ends.
    decades: (i32, i32),
    /// The pixels at its ends.
    pixels: (i32, i32),
}

impl Axis {
    fn around(values: impl Iterator<Item = f64>, pixels: (i32, i32)) -> Self {
        let logarithms: Vec<f64> = values.filter(|value| *value > 0.0).map(f64::log10).collect();
        let low = logarithms.iter().copied().fold(f64::INFINITY, f64::min);
        let high = logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // A hair inside, so that a value on a power of ten does not ask for the next one.
        let low = if low.is_finite() { (low + 1e-9).floor() as i32 } else { 0 };
        let high = if high.is_finite() { (high - 1e-9).ceil() as i32 } else { 1 };
        Self { decades: (low, high.max(low + 1)), pixels }
    }

    fn at(self, value: f64) -> i32 {
        let (low, high) = self.decades;
        let share = (value.max(f64::MIN_POSITIVE).log10() - f64::from(low)) / f64::from(high - low);
        let (first, last) = self.pixels;
        first + (share.clamp(0.0, 1.0) * f64::from(last - first)).round() as i32
    }

    fn powers(self) -> impl Iterator<Item = f64> {
        (self.decades.0..=self.decades.1).map(|exponent| 10_f64.powi(exponent))
    }
}

impl Plot {
    /// The plot as a file.
    ///
    /// # Errors
    ///
    /// None that the drawing of shapes into memory could have.
    pub(crate) fn svg(&self) -> Result<String, Box<dyn Error>> {
        let mut text = String::new();
        self.draw(&SVGBackend::with_string(&mut text, SIZE).into_drawing_area())?;
        Ok(text)
    }

    fn draw(&self, area: &Area<'_>) -> Drawn {
        area.fill(&WHITE)?;
        let (left, right, top, bottom) = MARGIN;
        let (width, height) = (SIZE.0.cast_signed(), SIZE.1.cast_signed());
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x = Axis::around(points().map(|(size, _)| *size as f64), (left, width - right));
        let spread = |(_, q): &(usize, Quartiles)| [q.low, q.median, q.high];
        let y = Axis::around(points().flat_map(spread), (height - bottom, top));
        axes(area, x, y, self.unit)?;
        let (first, others): (Vec<_>, Vec<_>) = self.lines.iter().partition(|line| line.style == 0);
        for line in others.into_iter().chain(first) {
            draw_line(area, x, y, line)?;
        }
        names(area, x, y, &self.lines)?;
        area.present()?;
        Ok(())
    }
}

fn axes(area: &Area<'_>, x: Axis, y: Axis, unit: &str) -> Drawn {
    for value in x.powers() {
        let place = x.at(value);
        area.draw(&PathElement::new([(place, y.pixels.0), (place, y.pixels.1)], GRID))?;
        text(area, &number(value), (place, y.pixels.0 + 8), HPos::Center, VPos::Top)?;
    }
    for value in y.powers() {
        let place = y.at(value);
        area.draw(&PathElement::new([(x.pixels.0, place), (x.pixels.1, place)], GRID))?;
        text(area, &number(value), (x.pixels.0 - 10, place), HPos::Right, VPos::Center)?;
    }
    area.draw(&PathElement::new(
        [(x.pixels.0, y.pixels.1), (x.pixels.0, y.pixels.0), (x.pixels.1, y.pixels.0)],
        INK,
    ))?;
    text(area, unit, (8, 8), HPos::Left, VPos::Top)?;
    let middle = i32::midpoint(x.pixels.0, x.pixels.1);
    text(area, "networks", (middle, y.pixels.0 + 38), HPos::Center, VPos::Top)
}

/// A power of ten as people write it.
fn number(value: f64) -> String {
    match value {
        _ if value >= 1e9 => format!("{} G", value / 1e9),
        _ if value >= 1e6 => format!("{} M", value / 1e6),
        _ if value >= 1e3 => format!("{},000", value / 1e3),
        _ => format!("{value}"),
    }
}

fn text(area: &Area<'_>, words: &str, at: (i32, i32), h: HPos, v: VPos) -> Drawn {
    // Comes out as 22 pixels.
    let style = TextStyle::from(("sans-serif", 27.28).into_font()).color(&INK).pos(Pos::new(h, v));
    area.draw(&Text::new(words.to_owned(), at, style))?;
    Ok(())
}

fn colour(style: usize) -> RGBColor {
    COLOURS[style % COLOURS.len()]
}

fn draw_line(area: &Area<'_>, x: Axis, y: Axis, line: &Line) -> Drawn {
    let colour = colour(line.style);
    let width = if line.style == 0 { 4 } else { 2 };
    let path: Vec<_> =
        line.points.iter().map(|(size, value)| (x.at(*size as f64), y.at(value.median))).collect();
    area.draw(&PathElement::new(path.clone(), colour.stroke_width(width)))?;
    for ((_, value), &(place, middle)) in line.points.iter().zip(&path) {
        let (low, high) = (y.at(value.low), y.at(value.high));
        if low - high > 2 {
            area.draw(&PathElement::new([(place, low), (place, high)], colour.stroke_width(2)))?;
        }
        mark(area, (place, middle), line.style)?;
    }
    Ok(())
}

/// A mark of its own for every line.
fn mark(area: &Area<'_>, at: (i32, i32), style: usize) -> Drawn {
    let colour = colour(style);
    let (filled, hollow): (ShapeStyle, ShapeStyle) = (colour.filled(), colour.stroke_width(2));
    let corners = |size: i32| [(at.0 - size, at.1 - size), (at.0 + size, at.1 + size)];
    match style % 8 {
        0 => area.draw(&Circle::new(at, 6, filled))?,
        1 => area.draw(&Rectangle::new(corners(5), filled))?,
        2 => area.draw(&TriangleMarker::new(at, 7, filled))?,
        3 => area.draw(&Circle::new(at, 5, hollow))?,
        4 => area.draw(&Cross::new(at, 5, hollow))?,
        5 => area.draw(&Rectangle::new(corners(4), hollow))?,
        6 => area.draw(&TriangleMarker::new(at, 6, hollow))?,
        _ => area.draw(&Circle::new(at, 3, filled))?,
    }
    Ok(())
}

/// The name of each line, as near to its end as the others let it.
fn names(area: &Area<'_>, x: Axis, y: Axis, lines: &[Line]) -> Drawn {
    let ends = lines.iter().filter_map(|line| {
        let (size, value) = line.points.last()?;
        Some((line, (x.at(*size as f64), y.at(value.median))))
    });
    let mut ends: Vec<_> = ends.collect();
    ends.sort_by_key(|(line, (_, height))| (*height, line.style));
    let heights = apart(&ends.iter().map(|(_, (_, height))| *height).collect::<Vec<_>>(), y);
    let column = x.pixels.1 + 40;
    for ((line, end), height) in ends.into_iter().zip(heights) {
        area.draw(&PathElement::new([(end.0 + 8, end.1), (column - 10, height)], colour(line.style)))?;
        mark(area, (column, height), line.style)?;
        text(area, &line.name, (column + 12, height), HPos::Left, VPos::Center)?;
    }
    Ok(())
}

/// Heights, sorted, moved until each has room, and within the axis.
fn apart(heights: &[i32], y: Axis) -> Vec<i32> {
    let (bottom, top) = y.pixels;
    let mut moved: Vec<i32> = heights.to_vec();
    for place in 1..moved.len() {
        moved[place] = moved[place].max(moved[place - 1] + NAME_HEIGHT);
    }
    let mut room = bottom;
    for height in moved.iter_mut().rev() {
        *height = (*height).min(room).max(top);
        room = *height - NAME_HEIGHT;
    }
    moved
}
