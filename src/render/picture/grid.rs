//! A host of many networks: a row for each, a column for each NIC, the sign where they meet.
//!
//! What is blocked is wall; what is open is a tile in it. A sign shows both directions: to the right from the row to
//! the column, to the left back. Networks that others reach have a column of their own.

use super::canvas::{Area, Canvas, MARGIN};
use super::glyph::{self, Signs};
use super::measure::{HEAD, LABEL, NAME, NET, NOTE};
use super::model::{Head, Model, thousands};

/// With more columns than this their names stand upright, and a cell has no word.
const WIDE: usize = 6;
/// Nor with fewer, where the grid is within this width, in px: that of a page on a desk.
const DESK: i32 = 1180;
/// The height of a row.
const ROW: i32 = 40;
/// Widest list of subnets in a row, in px.
const NETS: i32 = 330;
/// Exceptions that are told below.
const TOLD: usize = 60;

/// Name and second line of a row.
fn words(model: &Model<'_>, node: usize) -> (String, String) {
    let node = &model.nodes[node];
    let mut nets = String::new();
    let all = node.subnets.len();
    for (number, net) in node.subnets.iter().enumerate() {
        let longer = match nets.as_str() {
            "" => net.clone(),
            before => format!("{before}, {net}"),
        };
        let rest = if number + 1 < all { format!("{longer} ...") } else { longer.clone() };
        if !nets.is_empty() && NET.width(&rest) > NETS {
            nets.push_str(" ...");
            break;
        }
        nets = longer;
    }
    if nets.is_empty() {
        nets = match node.notes.as_slice() {
            [] => "no subnet in the file".to_owned(),
            notes => notes.join(", "),
        };
    }
    (node.label.clone(), nets)
}

/// NICs, and the networks that somebody on the left reaches, or has an exception for.
fn columns(model: &Model<'_>) -> Vec<usize> {
    let size = model.nodes.len();
    let excepted: Vec<usize> = model.exceptions.iter().map(|exception| exception.to).collect();
    let is_reached =
        |to: &usize| excepted.contains(to) || (0..model.left).any(|from| model.head(from, *to) != Head::None);
    (model.left..size).chain((0..model.left).filter(is_reached)).collect()
}

pub(super) fn draw(model: &Model<'_>, canvas: &mut Canvas) {
    let size = model.nodes.len();
    let columns = columns(model);
    let label = |node: usize| model.nodes[node].label.as_str();
    let head_width = |node: usize| {
        let node = &model.nodes[node];
        NAME.width(&node.name).max(NOTE.width(&node.kind)) + 20
    };
    let row_words: Vec<(String, String)> = (0..size).map(|node| words(model, node)).collect();
    let kind_width = (0..size).map(|node| NOTE.width(&model.nodes[node].kind)).max().unwrap_or(0);
    let name_width = row_words.iter().map(|(name, _)| NAME.width(name)).max().unwrap_or(0);
    let nets_width = row_words.iter().map(|(_, nets)| NET.width(nets)).max().unwrap_or(0);
    let rows_width = (name_width + 16 + kind_width).max(nets_width) + 20;
    let grid_x = MARGIN + rows_width + 10;
    let count = |number: usize| i32::try_from(number).unwrap_or(0);
    let wide = columns.iter().map(|node| head_width(*node)).max().unwrap_or(0).max(84);
    let is_wide = columns.len() <= WIDE || grid_x + count(columns.len()) * wide <= DESK;
    let column = if is_wide { wide } else { 36 };
    let full = (grid_x + count(columns.len()) * column - MARGIN).max(560);

    let top = glyph::title(canvas, model, full) + 12;
    let head_height = match is_wide {
        true => 44,
        false => columns.iter().map(|node| NAME.width(label(*node))).max().unwrap_or(0) + 12,
    };
    for (place, node) in columns.iter().enumerate() {
        let x = grid_x + count(place) * column;
        let area = Area { x, y: top, width: column, height: head_height };
        canvas.rect(if model.is_nic(*node) { "port" } else { "box" }, area, 3);
        if is_wide {
            canvas.centred(NAME, x + column / 2, top + 19, &model.nodes[*node].name);
            canvas.centred(NOTE, x + column / 2, top + 36, &model.nodes[*node].kind);
        } else {
            canvas.upwards(NAME, x + column / 2 + 5, top + head_height - 6, label(*node));
        }
    }
    canvas.text(HEAD, MARGIN, top + head_height - 8, "from the row to the column");

    let mut y = top + head_height + 6;
    canvas.head(top - 1, y);
    for (row, (name, nets)) in row_words.iter().enumerate() {
        canvas.cut(y);
        if row == model.left && row > 0 {
            y += 12;
        }
        canvas.begin(&model.nodes[row].attributes());
        canvas.rect("box", Area { x: MARGIN, y: y + 2, width: rows_width, height: ROW - 4 }, 4);
        canvas.text(NAME, MARGIN + 10, y + 17, name);
        if !model.is_nic(row) {
            let kind = &model.nodes[row].kind;
            let x = MARGIN + rows_width - 10 - NOTE.width(kind);
            canvas.text(NOTE, x, y + 17, kind);
        }
        canvas.text(NET, MARGIN + 10, y + 32, nets);
        canvas.end();
        let area = Area { x: grid_x, y: y + 2, width: count(columns.len()) * column, height: ROW - 4 };
        canvas.rect("wall", area, 0);
        canvas.rect("field", area, 0);
        let areas = columns.iter().enumerate().map(|(place, to)| {
            let area = Area { x: grid_x + count(place) * column, y: y + 2, width: column, height: ROW - 4 };
            (*to, area)
        });
        cells(canvas, model, row, &areas.collect::<Vec<_>>(), is_wide);
        y += ROW;
    }
    canvas.cut(y);
    exceptions(canvas, model, full);
    let signs = Signs {
        is_grid: true,
        open: true,
        published: (0..size).any(|from| (0..size).any(|to| model.head(from, to) == Head::Published)),
        exceptions: !model.exceptions.is_empty(),
        wall: model.has_blocked(),
    };
    glyph::legend(canvas, model, signs, full);
}

/// Rectangles as one path: a picture of many cells stays small.
fn rectangles(canvas: &mut Canvas, class: &str, areas: impl Iterator<Item = Area>) {
    let d: String =
        areas.map(|Area { x, y, width, height }| format!("M{x} {y}h{width}v{height}h-{width}z")).collect();
    if !d.is_empty() {
        canvas.path(class, &d);
    }
}

/// What is between the one of a row and the one of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    /// The same one, or without an IP version in common.
    None,
    /// Nothing passes.
    Blocked,
    /// Something does.
    Signs,
}

fn is_excepted(model: &Model<'_>, from: usize, to: usize) -> bool {
    model.exceptions.iter().any(|one| (one.from, one.to) == (from, to))
}

fn kind(model: &Model<'_>, a: usize, b: usize) -> Cell {
    let has_signs = (model.head(a, b), model.head(b, a)) != (Head::None, Head::None)
        || is_excepted(model, a, b)
        || is_excepted(model, b, a);
    match has_signs {
        true => Cell::Signs,
        false if a == b || (model.way(a, b).is_none() && model.way(b, a).is_none()) => Cell::None,
        false => Cell::Blocked,
    }
}

/// The cells of a row, over its wall.
fn cells(canvas: &mut Canvas, model: &Model<'_>, row: usize, areas: &[(usize, Area)], is_wide: bool) {
    let of =
        |wanted: fn(Cell) -> bool| areas.iter().copied().filter(move |(to, _)| wanted(kind(model, row, *to)));
    let middle = |area: Area| (area.x + area.width / 2, area.y + area.height / 2);
    rectangles(canvas, "tile", of(|cell| cell != Cell::Blocked).map(|(_, area)| area));
    let dashes: String = of(|cell| cell == Cell::None)
        .map(|(_, area)| middle(area))
        .map(|(x, y)| format!("M{} {y}h10", x - 5))
        .collect();
    if !dashes.is_empty() {
        canvas.path("none", &dashes);
    }
    if is_wide {
        let width = LABEL.width("blocked") + 10;
        let paper = |area| {
            let (x, y) = middle(area);
            Area { x: x - width / 2, y: y - 9, width, height: 18 }
        };
        rectangles(canvas, "paper", of(|cell| cell == Cell::Blocked).map(|(_, area)| paper(area)));
        let places = of(|cell| cell == Cell::Blocked).map(|(_, area)| middle(area));
        canvas.repeated(LABEL, "blocked", places.map(|(x, y)| (x, y + 4)));
    }
    for (to, area) in of(|cell| cell == Cell::Signs) {
        signs(canvas, model, (row, to), middle(area), if is_wide { 24 } else { 14 });
    }
}

fn signs(canvas: &mut Canvas, model: &Model<'_>, (from, to): (usize, usize), (x, y): (i32, i32), half: i32) {
    let forth = model.head(from, to);
    let back = model.head(to, from);
    let excepted = (is_excepted(model, from, to), is_excepted(model, to, from));
    let is_plain = (forth, back) != (Head::None, Head::None);
    let has_exception = excepted.0 || excepted.1;
    let names = (model.nodes[from].name.as_str(), model.nodes[to].name.as_str());
    if is_plain {
        let y = if has_exception { y - 8 } else { y };
        canvas.begin(&[
            ("data-from", names.0),
            ("data-to", names.1),
            ("data-way", forth.as_str()),
            ("data-back", back.as_str()),
        ]);
        glyph::line(canvas, "way", (x - half, y), x + half, (back, forth));
        canvas.end();
    }
    if has_exception {
        let y = if is_plain { y + 8 } else { y };
        let sign = |is: bool| if is { Head::Open } else { Head::None };
        let word = |is: bool| if is { "exceptions" } else { "answers" };
        canvas.begin(&[
            ("data-from", names.0),
            ("data-to", names.1),
            ("data-way", word(excepted.0)),
            ("data-back", word(excepted.1)),
        ]);
        glyph::line(canvas, "exception", (x - half, y), x + half, (sign(excepted.1), sign(excepted.0)));
        canvas.end();
    }
}

/// What the dashed signs let through, in words.
fn exceptions(canvas: &mut Canvas, model: &Model<'_>, width: i32) {
    if model.exceptions.is_empty() {
        return;
    }
    let mut y = canvas.bottom() + 28;
    canvas.text(HEAD, MARGIN, y, "Exceptions");
    y += 4;
    let mut told: Vec<String> = model
        .exceptions
        .iter()
        .take(TOLD)
        .map(|one| format!("{} to {}: {}", model.nodes[one.from].name, model.nodes[one.to].name, one.what))
        .collect();
    if model.exceptions.len() > TOLD {
        told.push(format!("and {} more", thousands(model.exceptions.len() - TOLD)));
    }
    for one in told {
        for line in LABEL.wrap(&one, width) {
            y += 17;
            canvas.text(LABEL, MARGIN, y, &line);
        }
    }
}
