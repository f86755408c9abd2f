//! Signs that both layouts have, and the legend that explains them.

use super::canvas::{Area, Canvas, MARGIN};
use super::measure::{HEAD, LABEL, NOTE, TITLE, WALL};
use super::model::{Head, Model};

/// The point of a head at (`x`, `y`), towards the right or the left.
pub(super) fn head(canvas: &mut Canvas, x: i32, y: i32, is_right: bool, head: Head, class: &str) {
    let back = if is_right { x - 10 } else { x + 10 };
    let class = match head {
        Head::None => return,
        Head::Published => format!("{class}-hollow"),
        Head::Open => format!("{class}-head"),
    };
    canvas.path(&class, &format!("M{x} {y}L{back} {}V{}Z", y - 5, y + 5));
}

/// A line between two points at one height, with heads at its ends.
pub(super) fn line(canvas: &mut Canvas, class: &str, from: (i32, i32), to_x: i32, heads: (Head, Head)) {
    let (x, y) = from;
    // Not through the point of a head.
    let inset = |head: Head| if head == Head::None { 0 } else { 8 };
    canvas.path(class, &format!("M{} {y}H{}", x + inset(heads.0), to_x - inset(heads.1)));
    head(canvas, x, y, false, heads.0, class);
    head(canvas, to_x, y, true, heads.1, class);
}

/// A piece of wall.
pub(super) fn wall(canvas: &mut Canvas, area: Area) {
    canvas.rect("wall", area, 0);
    canvas.rect("bricks", area, 0);
}

/// A padlock, 12 wide and 14 high.
pub(super) fn lock(canvas: &mut Canvas, x: i32, y: i32) {
    canvas.path("shackle", &format!("M{} {}v-3a3 3 0 0 1 6 0v3", x + 3, y + 6));
    canvas.path("lock", &format!("M{} {}h10v8h-10z", x + 1, y + 6));
}

/// The width of [`plate`].
pub(super) fn plate_width(lines: &[String]) -> i32 {
    28 + lines.iter().map(|line| WALL.width(line)).max().unwrap_or(0)
}

/// `blocked for ...` on a plate with a padlock.
pub(super) fn plate(canvas: &mut Canvas, area: Area, lines: &[String]) {
    canvas.rect("plate", area, 3);
    lock(canvas, area.x + 5, area.y + 3);
    for (line, y) in lines.iter().zip((area.y + 15..).step_by(15)) {
        canvas.text(WALL, area.x + 22, y, line);
    }
}

/// The title, and where the picture comes from. Gives the height that it takes.
pub(super) fn title(canvas: &mut Canvas, model: &Model<'_>, width: i32) -> i32 {
    canvas.text(TITLE, MARGIN, 34, &TITLE.cut(Model::TITLE, width.max(TITLE.width(Model::TITLE))));
    let mut y = 56;
    for line in LABEL.wrap(&format!("{}: {}", model.file, model.counted()), width) {
        canvas.text(NOTE, MARGIN, y, &line);
        y += 17;
    }
    y - 5
}

/// What of the signs a picture has.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Signs {
    pub is_grid: bool,
    pub open: bool,
    pub published: bool,
    pub exceptions: bool,
    pub wall: bool,
}

/// A sign, and what it stands for.
type Item = (fn(&mut Canvas, i32, i32), &'static str);

/// Explains the signs, below everything, within a width; then the notes.
pub(super) fn legend(canvas: &mut Canvas, model: &Model<'_>, signs: Signs, width: i32) {
    let mut items: Vec<Item> = Vec::new();
    if signs.open {
        items.push((
            |canvas, x, y| line(canvas, "way", (x, y), x + 44, (Head::None, Head::Open)),
            "may open connections that way; without a head, only answers come back",
        ));
    }
    if signs.published {
        items.push((
            |canvas, x, y| line(canvas, "way", (x, y), x + 44, (Head::Published, Head::None)),
            "what was published (a DNAT rule), and answers",
        ));
    }
    if signs.exceptions {
        items.push((
            |canvas, x, y| line(canvas, "exception", (x, y), x + 44, (Head::None, Head::Open)),
            "an exception: only what is written, and answers to it",
        ));
    }
    if signs.wall {
        items.push(if signs.is_grid {
            (
                |canvas, x, y| {
                    let area = Area { x, y: y - 8, width: 44, height: 16 };
                    canvas.rect("wall", area, 0);
                    canvas.rect("field", area, 0);
                },
                "blocked: nothing passes, either way",
            )
        } else {
            (
                |canvas, x, y| {
                    wall(canvas, Area { x: x + 32, y: y - 10, width: 12, height: 20 });
                    canvas.rect("plate", Area { x: x + 4, y: y - 10, width: 24, height: 20 }, 3);
                    lock(canvas, x + 10, y - 8);
                },
                "blocked: nothing passes, either way; nor where there is no line",
            )
        });
    }
    let mut y = canvas.bottom() + 34;
    canvas.text(HEAD, MARGIN, y, "Legend");
    y += 26;
    let mut x = MARGIN;
    for (sign, text) in items {
        let wide = 52 + LABEL.width(text);
        if x > MARGIN && x + wide > MARGIN + width {
            x = MARGIN;
            y += 28;
        }
        sign(canvas, x, y);
        canvas.text(LABEL, x + 52, y + 4, text);
        x += wide + 28;
    }
    const HOST: &str =
        "A line to a NIC includes the host's own address there. Hosts behind a NIC reach that address.";
    let has_nics = model.nodes.len() > model.left;
    let notes = [has_nics.then(|| HOST.to_owned()), model.left_out(), model.caveat().map(str::to_owned)];
    y += 14;
    for note in notes.into_iter().flatten() {
        for line in NOTE.wrap(&note, width) {
            y += 19;
            canvas.text(NOTE, MARGIN, y, &line);
        }
    }
}
