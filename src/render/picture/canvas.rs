//! SVG elements one after the other. What is behind is drawn first.

use super::measure::Font;

/// A rectangle in px.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Area {
    pub x: i32,
    pub y: i32,
    pub width: i32,
    pub height: i32,
}

impl Area {
    pub(super) const fn right(self) -> i32 {
        self.x + self.width
    }

    pub(super) const fn bottom(self) -> i32 {
        self.y + self.height
    }
}

/// A picture that grows; it is as large as what it has, and a margin.
#[derive(Debug, Default)]
pub(super) struct Canvas {
    body: String,
    right: i32,
    bottom: i32,
    head: Option<(i32, i32)>,
    cuts: Vec<i32>,
}

/// A part of a picture, by heights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub head: Option<(i32, i32)>,
    pub top: i32,
    pub bottom: i32,
}

/// Around everything.
pub(super) const MARGIN: i32 = 16;

/// XML text: escaped, and without the control characters that XML 1.0 does not have.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

impl Canvas {
    fn reaches(&mut self, right: i32, bottom: i32) {
        self.right = self.right.max(right);
        self.bottom = self.bottom.max(bottom);
    }

    /// Everything that was drawn.
    pub(super) fn body(&self) -> &str {
        &self.body
    }

    /// Width and height of the picture.
    pub(super) const fn size(&self) -> (i32, i32) {
        (self.right + MARGIN, self.bottom + MARGIN)
    }

    /// What is between these heights belongs to everything below, as the head of a table does.
    pub(super) const fn head(&mut self, top: i32, bottom: i32) {
        self.head = Some((top, bottom));
    }

    /// Nothing is drawn across this height: the picture may be cut there.
    pub(super) fn cut(&mut self, y: i32) {
        self.cuts.push(y);
    }

    /// The picture in parts that are not higher than that, the first one less by something else, where it may be
    /// cut: each with the head, unless it has it anyway, and from where to where it goes.
    pub(super) fn parts(&self, most: i32, first: i32) -> Vec<Part> {
        let (_, height) = self.size();
        let mut parts = Vec::new();
        let mut top = 0;
        while top < height {
            let head = self.head.filter(|(_, bottom)| top >= *bottom && self.cuts.last() > Some(&top));
            let above = if top == 0 { first } else { head.map_or(0, |(top, bottom)| bottom - top) };
            let room = most - above;
            let cuts = self.cuts.iter().copied().filter(|cut| *cut > top && *cut - top <= room);
            let bottom = if height - top <= room { height } else { cuts.max().unwrap_or(height) };
            parts.push(Part { head, top, bottom });
            top = bottom;
        }
        parts
    }

    /// How far down something is drawn.
    pub(super) const fn bottom(&self) -> i32 {
        self.bottom
    }

    pub(super) fn rect(&mut self, class: &str, area: Area, radius: i32) {
        self.reaches(area.right(), area.bottom());
        let Area { x, y, width, height } = area;
        let radius = if radius > 0 { format!(" rx=\"{radius}\"") } else { String::new() };
        self.body.push_str(&format!(
            "<rect class=\"isop-{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"{radius}/>\n"
        ));
    }

    /// A text from `x` to the right, on a baseline.
    pub(super) fn text(&mut self, font: Font, x: i32, y: i32, text: &str) {
        self.reaches(x + font.width(text), y + font.size / 3);
        let text = escaped(text);
        self.body
            .push_str(&format!("<text class=\"isop-{}\" x=\"{x}\" y=\"{y}\">{text}</text>\n", font.class));
    }

    /// A text around `x`.
    pub(super) fn centred(&mut self, font: Font, x: i32, y: i32, text: &str) {
        self.reaches(x + font.width(text) / 2 + 1, y + font.size / 3);
        let (class, text) = (font.class, escaped(text));
        self.body
            .push_str(&format!("<text class=\"isop-{class} isop-mid\" x=\"{x}\" y=\"{y}\">{text}</text>\n"));
    }

    /// A text around each of these places.
    pub(super) fn repeated(&mut self, font: Font, text: &str, places: impl Iterator<Item = (i32, i32)>) {
        self.body.push_str(&format!("<g class=\"isop-{} isop-mid\">\n", font.class));
        let (half, text) = (font.width(text) / 2 + 1, escaped(text));
        for (x, y) in places {
            self.reaches(x + half, y + font.size / 3);
            self.body.push_str(&format!("<text x=\"{x}\" y=\"{y}\">{text}</text>\n"));
        }
        self.end();
    }

    /// A text from `y` upwards.
    pub(super) fn upwards(&mut self, font: Font, x: i32, y: i32, text: &str) {
        self.reaches(x + font.size / 3, y);
        let (class, text) = (font.class, escaped(text));
        self.body.push_str(&format!(
            "<text class=\"isop-{class}\" transform=\"translate({x} {y}) rotate(-90)\">{text}</text>\n"
        ));
    }

    /// A path; what it is drawn within is known to whoever draws it.
    pub(super) fn path(&mut self, class: &str, d: &str) {
        self.body.push_str(&format!("<path class=\"isop-{class}\" d=\"{d}\"/>\n"));
    }

    /// What follows, up to [`Self::end`], is one thing, with these attributes.
    pub(super) fn begin<T: AsRef<str>>(&mut self, attributes: &[(&str, T)]) {
        self.body.push_str("<g");
        for (name, value) in attributes {
            self.body.push_str(&format!(" {name}=\"{}\"", escaped(value.as_ref())));
        }
        self.body.push_str(">\n");
    }

    /// What a pointer over it shows.
    pub(super) fn tip(&mut self, text: &str) {
        self.body.push_str(&format!("<title>{}</title>\n", escaped(text)));
    }

    pub(super) fn end(&mut self) {
        self.body.push_str("</g>\n");
    }
}
