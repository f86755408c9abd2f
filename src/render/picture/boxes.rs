//! A host of a few networks: boxes on the left, NICs on the right, lines between them.
//!
//! Every line starts and ends in a slot of a box. A slot has its words beside it, in a column of its own, so that no
//! line runs through words: lines meet only in the middle.

use std::collections::BTreeMap;

use super::canvas::{Area, Canvas, MARGIN};
use super::glyph::{self, Signs};
use super::measure::{HEAD, LABEL, NAME, NET, NOTE, WALL};
use super::model::{Head, Model};

/// Words of a slot are broken at this width, in px.
const WORDS: i32 = 285;
/// The height of a line of text.
const ROW: i32 = 15;

/// More boxes than this are rows of a grid.
const BOXES: usize = 10;

/// With more crossings than this the eye loses a line, and who is blocked for whom is easier seen in a grid.
const CROSSINGS: usize = 12;

/// Whether a picture of boxes can be followed by the eye.
pub(super) fn fits(model: &Model<'_>) -> bool {
    let nics = model.nodes.len() - model.left;
    model.missing == 0
        && model.left <= BOXES
        && nics <= 6
        && model.exceptions.len() <= 12
        && crossings(model) <= CROSSINGS
}

/// How many pairs of lines cross, as the nodes stand. Lines that meet in a node do not.
fn crossings(model: &Model<'_>) -> usize {
    let mut ends: Vec<(usize, usize)> = lines(model).iter().map(|line| line.ends).collect();
    ends.extend(model.exceptions.iter().map(|one| (one.from.min(one.to), one.from.max(one.to))));
    ends.sort_unstable();
    ends.dedup();
    let within = |at: usize, (a, b): (usize, usize)| a < at && at < b;
    let crosses = |one: (usize, usize), other: (usize, usize)| {
        match [one, other].map(|(a, b)| model.is_nic(a) == model.is_nic(b)) {
            // From one side to the other, both.
            [false, false] => (one.0 < other.0 && one.1 > other.1) || (one.0 > other.0 && one.1 < other.1),
            // One bends back to its side.
            [true, false] => within(if model.is_nic(one.0) { other.1 } else { other.0 }, one),
            [false, true] => within(if model.is_nic(other.0) { one.1 } else { one.0 }, other),
            [true, true] => {
                within(one.0, other) != within(one.1, other)
                    && one.0 != other.0
                    && one.1 != other.1
                    && one.0 != other.1
                    && one.1 != other.0
            }
        }
    };
    let pairs = ends
        .iter()
        .enumerate()
        .flat_map(|(place, one)| ends[place + 1..].iter().map(move |other| (*one, *other)));
    pairs.filter(|(one, other)| crosses(*one, *other)).count()
}

/// A line between two nodes, the first before the second, with what it has at either end.
struct Line {
    ends: (usize, usize),
    heads: (Head, Head),
}

fn lines(model: &Model<'_>) -> Vec<Line> {
    let size = model.nodes.len();
    let pairs = (0..size).flat_map(|a| (a + 1..size).map(move |b| (a, b)));
    pairs
        .map(|(a, b)| Line { ends: (a, b), heads: (model.head(b, a), model.head(a, b)) })
        .filter(|line| line.heads != (Head::None, Head::None))
        .collect()
}

/// Where something starts or ends at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Lines with that at this end.
    Plain(Head),
    /// The exceptions from a node.
    Exceptions(usize),
    /// Nothing.
    Wall,
}

#[derive(Debug)]
struct Slot {
    kind: Kind,
    words: Vec<String>,
    /// From the top of the box; of the line.
    y: i32,
    height: i32,
}

/// A node with its slots.
#[derive(Debug, Default)]
struct Block {
    slots: Vec<Slot>,
    area: Area,
}

impl Block {
    fn words_width(&self) -> i32 {
        let width = |slot: &Slot| match slot.kind {
            Kind::Wall => glyph::plate_width(&slot.words),
            _ => slot.words.iter().map(|line| LABEL.width(line)).max().unwrap_or(0),
        };
        self.slots.iter().map(width).max().unwrap_or(0)
    }

    fn slots_height(&self) -> i32 {
        self.slots.iter().map(|slot| slot.height).sum()
    }

    /// The height of a slot's line in the picture.
    fn y(&self, kind: Kind) -> i32 {
        let slot = self.slots.iter().find(|slot| slot.kind == kind);
        self.area.y + slot.map_or(self.area.height / 2, |slot| slot.y)
    }

    /// Places the slots in the middle of the box.
    fn place(&mut self) {
        let mut top = (self.area.height - self.slots_height()) / 2;
        for slot in &mut self.slots {
            slot.y = match slot.kind {
                Kind::Wall => top + slot.height / 2,
                _ => top + slot.height - 9,
            };
            top += slot.height;
        }
    }
}

/// What the slots of a node are, with their words.
fn slots(model: &Model<'_>, lines: &[Line], exceptions: &Exceptions, node: usize) -> Vec<Slot> {
    let mut kinds: BTreeMap<Kind, Vec<usize>> = BTreeMap::new();
    for line in lines {
        let (here, other) = match line.ends {
            (a, b) if a == node => (line.heads.0, b),
            (a, b) if b == node => (line.heads.1, a),
            _ => continue,
        };
        kinds.entry(Kind::Plain(here)).or_default().push(other);
    }
    for (from, to) in exceptions.keys() {
        if *to == node {
            kinds.entry(Kind::Exceptions(*from)).or_default();
        }
        if *from == node {
            kinds.entry(Kind::Plain(Head::None)).or_default();
        }
    }
    let is_nic = model.is_nic(node);
    let wall = if is_nic { model.wall(node) } else { None };
    if wall.is_some() || (!is_nic && kinds.is_empty()) {
        kinds.insert(Kind::Wall, Vec::new());
    }
    let slot = |(kind, others): (Kind, Vec<usize>)| {
        let words = match kind {
            Kind::Wall => WALL.wrap(wall.as_deref().unwrap_or("blocked both ways"), WORDS),
            Kind::Exceptions(from) => {
                let name = &model.nodes[from].name;
                exceptions[&(from, node)]
                    .iter()
                    .flat_map(|what| LABEL.wrap(&format!("{name}: {what}"), WORDS))
                    .collect()
            }
            Kind::Plain(Head::Open) => LABEL.wrap(&format!("open for {}", model.names(&others, 3)), WORDS),
            Kind::Plain(Head::Published) => {
                LABEL.wrap(&format!("published ports, from {}", model.names(&others, 3)), WORDS)
            }
            Kind::Plain(Head::None) if others.is_empty() => Vec::new(),
            Kind::Plain(Head::None) if is_nic => {
                LABEL.wrap(&format!("opens to {}", model.names(&others, 3)), WORDS)
            }
            Kind::Plain(Head::None) => Vec::new(),
        };
        let rows = i32::try_from(words.len()).unwrap_or(0);
        Slot { kind, words, y: 0, height: if rows == 0 { 18 } else { ROW * rows + 18 } }
    };
    kinds.into_iter().map(slot).collect()
}

/// By sender and receiver.
type Exceptions = BTreeMap<(usize, usize), Vec<String>>;

/// The column on the right, or on the left.
#[derive(Debug, Clone, Copy, Default)]
struct Column {
    /// The boxes.
    x: i32,
    width: i32,
    /// Where the words end, or start, and lines may bend.
    bend: i32,
}

/// What is in the box of a network or flat.
fn inside(model: &Model<'_>, node: usize) -> (String, Vec<String>) {
    let node = &model.nodes[node];
    let mut notes = vec![node.kind.clone()];
    notes.extend(node.notes.iter().cloned());
    let name = if node.members == 1 { node.name.clone() } else { node.label.clone() };
    (name, notes)
}

fn box_size(model: &Model<'_>, node: usize) -> (i32, i32) {
    let (name, notes) = inside(model, node);
    let nets = &model.nodes[node].subnets;
    let widths = notes.iter().map(|note| NOTE.width(note)).chain(nets.iter().map(|net| NET.width(net)));
    let width = widths.max().unwrap_or(0).max(NAME.width(&name)) + 24;
    let rows = i32::try_from(notes.len() + nets.len()).unwrap_or(0);
    (width, 34 + rows * 16)
}

const HOST_ADDRESS: &str = "host's own address";

pub(super) fn draw(model: &Model<'_>, canvas: &mut Canvas) {
    let lines = lines(model);
    let mut exceptions = Exceptions::new();
    for exception in &model.exceptions {
        exceptions.entry((exception.from, exception.to)).or_default().push(exception.what.clone());
    }
    let size = model.nodes.len();
    let mut blocks: Vec<Block> = (0..size)
        .map(|node| Block { slots: slots(model, &lines, &exceptions, node), area: Area::default() })
        .collect();

    // From left to right: boxes, their words, lines, words of the NICs, the wall, the NICs, what is behind them.
    let side = |nodes: std::ops::Range<usize>, of: &dyn Fn(usize) -> i32| nodes.map(of).max().unwrap_or(0);
    let mut left =
        Column { x: MARGIN + 18, width: side(0..model.left, &|node| box_size(model, node).0), bend: 0 };
    left.bend = left.x + left.width + 24 + side(0..model.left, &|node| blocks[node].words_width());
    let middle = 70 + 6 * i32::try_from(lines.len() + exceptions.len()).unwrap_or(0).min(26);
    let wall_x = left.bend + middle + 24 + side(model.left..size, &|node| blocks[node].words_width());
    let right_bend = left.bend + middle;
    let name_width = side(model.left..size, &|node| NAME.width(&model.nodes[node].name));
    let port =
        Column { x: wall_x + 34, width: name_width.max(NOTE.width(HOST_ADDRESS)) + 24, bend: right_bend };
    let outside = Column {
        x: port.x + port.width + 34,
        width: side(model.left..size, &|node| behind_size(model, node).0),
        bend: 0,
    };
    let has_nics = size > model.left;
    let full = if has_nics { outside.x + outside.width } else { right_bend }.max(MARGIN + 560) - MARGIN;

    let host_top = glyph::title(canvas, model, full) + 14;
    let mut bottoms = [host_top + 40; 2];
    for (node, block) in blocks.iter_mut().enumerate() {
        let is_nic = model.is_nic(node);
        let inner = if is_nic { behind_size(model, node).1.max(46) } else { box_size(model, node).1 };
        let column = if is_nic { port } else { left };
        let height = inner.max(block.slots_height() + 6);
        let y = bottoms[usize::from(is_nic)];
        block.area = Area { x: column.x, y, width: column.width, height };
        block.place();
        bottoms[usize::from(is_nic)] = y + height + 18;
    }
    // The shorter side stands in the middle of the longer one, spread a little.
    let longest = bottoms[0].max(bottoms[1]);
    let counts = [model.left, size - model.left];
    for (node, block) in blocks.iter_mut().enumerate() {
        let side = usize::from(model.is_nic(node));
        let spare = longest - bottoms[side];
        let count = i32::try_from(counts[side]).unwrap_or(1);
        let apart = (spare / (count + 1)).min(60);
        let place = i32::try_from(if side == 0 { node } else { node - model.left }).unwrap_or(0);
        block.area.y += (spare - apart * (count - 1)) / 2 + apart * place;
    }
    let host_right = if has_nics { port.x + port.width / 2 } else { right_bend };
    let host = Area { x: MARGIN, y: host_top, width: host_right - MARGIN, height: longest - host_top };
    canvas.rect("host", host, 10);
    canvas.text(HEAD, host.x + 18, host_top + 24, "this host");
    if has_nics {
        canvas.text(HEAD, outside.x, host_top + 24, "networks behind its NICs");
    }

    for (number, line) in lines.iter().enumerate() {
        let (a, b) = line.ends;
        let kinds = (Kind::Plain(line.heads.0), Kind::Plain(line.heads.1));
        let names = (model.nodes[a].name.as_str(), model.nodes[b].name.as_str());
        let words = (line.heads.1.as_str(), line.heads.0.as_str());
        canvas.begin(&[
            ("data-from", names.0),
            ("data-to", names.1),
            ("data-way", words.0),
            ("data-back", words.1),
        ]);
        let told = |from: usize, to: usize, word: &str| {
            format!("{} to {}: {word}", model.nodes[from].label, model.nodes[to].label)
        };
        canvas.tip(&format!("{}; {}", told(a, b, words.0), told(b, a, words.1)));
        let ends = [(a, blocks[a].y(kinds.0), line.heads.0), (b, blocks[b].y(kinds.1), line.heads.1)];
        join(canvas, "way", model, [left, port], ends, number);
        for one in ends {
            end(canvas, "way", model, &blocks, one);
        }
        canvas.end();
    }
    for (number, ((from, to), whats)) in exceptions.iter().enumerate() {
        let names = (model.nodes[*from].name.as_str(), model.nodes[*to].name.as_str());
        canvas.begin(&[("data-from", names.0), ("data-to", names.1), ("data-way", "exceptions")]);
        canvas.tip(&format!("{} to {}: {}", names.0, names.1, whats.join("; ")));
        let ends = [
            (*from, blocks[*from].y(Kind::Plain(Head::None)), Head::None),
            (*to, blocks[*to].y(Kind::Exceptions(*from)), Head::Open),
        ];
        join(canvas, "exception", model, [left, port], ends, number + lines.len());
        end(canvas, "exception", model, &blocks, ends[1]);
        canvas.end();
    }
    for (node, block) in blocks.iter().enumerate() {
        if model.is_nic(node) {
            draw_nic(canvas, model, node, block, port, outside, wall_x);
        } else {
            draw_network(canvas, model, node, block);
        }
    }
    let signs = Signs {
        is_grid: false,
        open: !lines.is_empty(),
        published: lines
            .iter()
            .any(|line| line.heads.0 == Head::Published || line.heads.1 == Head::Published),
        exceptions: !exceptions.is_empty(),
        wall: model.has_blocked(),
    };
    glyph::legend(canvas, model, signs, full);
}

/// The line from slot to slot.
fn join(
    canvas: &mut Canvas,
    class: &str,
    model: &Model<'_>,
    columns: [Column; 2],
    ends: [(usize, i32, Head); 2],
    number: usize,
) {
    let [left, right] = columns;
    // Where a line leaves its box, and where it may bend.
    let edge = |node: usize, head: Head| {
        let inset = if head == Head::None { 0 } else { 8 };
        match model.is_nic(node) {
            true => (right.x - inset, right.bend),
            false => (left.x + left.width + inset, left.bend),
        }
    };
    let [(a, from_y, from_head), (b, to_y, to_head)] = ends;
    let ((start, from), (stop, to)) = (edge(a, from_head), edge(b, to_head));
    let gap = right.bend - left.bend;
    let d = match (model.is_nic(a), model.is_nic(b)) {
        (false, true) | (true, false) => {
            let half = (from + to) / 2;
            format!("M{start} {from_y}H{from}C{half} {from_y} {half} {to_y} {to} {to_y}H{stop}")
        }
        (is_right, _) => {
            let depth = gap / 3 + i32::try_from(number % 5).unwrap_or(0) * gap / 12;
            let out = if is_right { from - depth } else { from + depth };
            format!("M{start} {from_y}H{from}C{out} {from_y} {out} {to_y} {to} {to_y}H{stop}")
        }
    };
    canvas.path(class, &d);
}

/// The head of a line where it meets its box.
fn end(canvas: &mut Canvas, class: &str, model: &Model<'_>, blocks: &[Block], end: (usize, i32, Head)) {
    let (node, y, head) = end;
    let area = blocks[node].area;
    let is_nic = model.is_nic(node);
    glyph::head(canvas, if is_nic { area.x } else { area.right() }, y, is_nic, head, class);
}

fn draw_words(canvas: &mut Canvas, block: &Block, x: i32, wall_right: Option<i32>) {
    for slot in &block.slots {
        let y = block.area.y + slot.y;
        let rows = i32::try_from(slot.words.len()).unwrap_or(0);
        if slot.kind == Kind::Wall {
            let (width, height) = (glyph::plate_width(&slot.words), ROW * rows + 6);
            let x = wall_right.map_or(x, |right| right - width);
            glyph::plate(canvas, Area { x, y: y - height / 2, width, height }, &slot.words);
            continue;
        }
        for (line, number) in slot.words.iter().zip(0..) {
            canvas.text(LABEL, x, y - 6 - ROW * (rows - 1 - number), line);
        }
    }
}

fn draw_network(canvas: &mut Canvas, model: &Model<'_>, node: usize, block: &Block) {
    canvas.begin(&model.nodes[node].attributes());
    canvas.rect("box", block.area, 6);
    let (name, notes) = inside(model, node);
    let (x, mut y) = (block.area.x + 12, block.area.y + 22);
    canvas.text(NAME, x, y, &name);
    for net in &model.nodes[node].subnets {
        y += 16;
        canvas.text(NET, x, y, net);
    }
    for note in &notes {
        y += 16;
        canvas.text(NOTE, x, y, note);
    }
    canvas.end();
    draw_words(canvas, block, block.area.right() + 16, None);
}

fn behind_size(model: &Model<'_>, node: usize) -> (i32, i32) {
    let node = &model.nodes[node];
    let nets = node.subnets.iter().map(|net| NET.width(net));
    let notes = node.notes.iter().map(|note| NOTE.width(note));
    let width = nets.chain(notes).max().unwrap_or(0).max(HEAD.width(&node.kind));
    let rows = i32::try_from(node.subnets.len() + node.notes.len()).unwrap_or(0);
    (width.max(HEAD.width("networks behind its NICs") - 24) + 24, 34 + rows * 16)
}

fn draw_nic(
    canvas: &mut Canvas,
    model: &Model<'_>,
    node: usize,
    block: &Block,
    port: Column,
    outside: Column,
    wall_x: i32,
) {
    let area = block.area;
    let what = &model.nodes[node];
    if block.slots.iter().any(|slot| slot.kind == Kind::Wall) {
        // A wall with a gap for each line.
        let mut from = area.y;
        let passes = block.slots.iter().filter(|slot| slot.kind != Kind::Wall).map(|slot| area.y + slot.y);
        for y in passes.chain([area.bottom() + 7]) {
            if y - 7 > from + 2 {
                glyph::wall(canvas, Area { x: wall_x, y: from, width: 12, height: y - 7 - from });
            }
            from = y + 7;
        }
    }
    canvas.begin(&what.attributes());
    let middle = area.y + area.height / 2;
    canvas.path("cable", &format!("M{} {middle}H{}", area.right(), outside.x));
    canvas.rect("port", area, 3);
    let x = port.x + 12;
    canvas.text(NAME, x, middle - 3, &what.name);
    canvas.text(NOTE, x, middle + 14, HOST_ADDRESS);
    canvas.rect("box", Area { x: outside.x, width: outside.width, ..area }, 14);
    let rows = i32::try_from(what.subnets.len() + what.notes.len()).unwrap_or(0);
    let mut y = middle - rows * 8 + 5;
    canvas.text(HEAD, outside.x + 12, y, &what.kind);
    for net in &what.subnets {
        y += 16;
        canvas.text(NET, outside.x + 12, y, net);
    }
    for note in &what.notes {
        y += 16;
        canvas.text(NOTE, outside.x + 12, y, note);
    }
    canvas.end();
    draw_words(canvas, block, port.bend + 8, Some(wall_x));
}
