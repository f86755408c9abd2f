//! How wide text is, at least as wide as in any common font: boxes are made around it before anyone knows the font.

/// A kind of text: its class in the style sheet, its size, and what its letters take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Font {
    /// Without the prefix.
    pub class: &'static str,
    /// In px.
    pub size: i32,
    /// Whether all letters are equally wide.
    pub is_mono: bool,
    /// Whether it is bold.
    pub is_bold: bool,
}

/// The title.
pub(super) const TITLE: Font = Font { class: "title", size: 19, is_mono: false, is_bold: true };
/// The name of a network or NIC.
pub(super) const NAME: Font = Font { class: "name", size: 14, is_mono: true, is_bold: true };
/// Subnets.
pub(super) const NET: Font = Font { class: "net", size: 12, is_mono: true, is_bold: false };
/// What a thing is, beside its name.
pub(super) const NOTE: Font = Font { class: "note", size: 12, is_mono: false, is_bold: false };
/// What a line says.
pub(super) const LABEL: Font = Font { class: "label", size: 12, is_mono: false, is_bold: false };
/// `blocked`.
pub(super) const WALL: Font = Font { class: "walltext", size: 12, is_mono: false, is_bold: true };
/// What a side of the picture is.
pub(super) const HEAD: Font = Font { class: "head", size: 13, is_mono: false, is_bold: true };

impl Font {
    /// The width of a text in px, rounded up. DejaVu Sans and Verdana are the widest of the usual fonts, and the
    /// numbers are theirs (in 1/1000 em); others take less.
    pub(super) fn width(self, text: &str) -> i32 {
        let em: i32 = text.chars().map(|c| if self.is_mono { mono(c) } else { sans(c) }).sum();
        let em = if self.is_bold && !self.is_mono { em * 114 / 100 } else { em };
        (em * self.size + 999) / 1000
    }

    /// As much of a text as fits, with `...` where something is missing.
    pub(super) fn cut(self, text: &str, width: i32) -> String {
        if self.width(text) <= width {
            return text.to_owned();
        }
        let mut kept = String::new();
        for c in text.chars() {
            kept.push(c);
            if self.width(&kept) + self.width("...") > width {
                kept.pop();
                break;
            }
        }
        kept + "..."
    }

    /// A text in lines of at most that width, broken at spaces. A word that is wider is cut.
    pub(super) fn wrap(self, text: &str, width: i32) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = String::new();
        for word in text.split(' ') {
            let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
            if self.width(&longer) > width && !line.is_empty() {
                lines.push(std::mem::take(&mut line));
                line = self.cut(word, width);
            } else {
                line = self.cut(&longer, width);
            }
        }
        lines.push(line);
        lines
    }
}

const fn mono(c: char) -> i32 {
    if c.is_ascii() { 615 } else { 1400 }
}

const fn sans(c: char) -> i32 {
    match c {
        'i' | 'j' | 'l' | ' ' | '.' | ',' | ':' | ';' | '\'' | '|' => 370,
        'f' | 'r' | 't' | 'I' | '(' | ')' | '[' | ']' | '-' | '/' | '!' => 455,
        'c' | 'k' | 's' | 'v' | 'x' | 'y' | 'z' | '*' => 600,
        'm' | 'w' | '@' | 'M' | 'W' | '%' => 1010,
        'A'..='Z' => 800,
        ' '..='~' => 645,
        _ => 1400,
    }
}
