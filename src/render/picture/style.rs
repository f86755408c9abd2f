//! Colours and fonts, and the element around everything.

use super::Embed;
use super::canvas::{Canvas, escaped};
use super::model::Model;

/// A colour: the custom property of a page, in light, in dark.
type Colour = (&'static str, &'static str, &'static str);

const TEXT: Colour = ("--text", "#1b1f24", "#e7eaed");
const SOFT: Colour = ("--soft", "#4c555f", "#aeb7c1");
const PAGE: Colour = ("--page", "#ffffff", "#14171b");
const LINE: Colour = ("--line", "#c3c9d0", "#4a535d");
const BAND: Colour = ("--band", "#f3f5f7", "#1d2228");
const GOOD: Colour = ("--good", "#0a5c33", "#86dcab");
const BAD: Colour = ("--bad", "#a8201a", "#ff9d94");
const HALF: Colour = ("--half", "#7a4300", "#ffc46b");
const ON: Colour = ("--on", "#ffffff", "#1b0605");

/// By selectors, which property has which colour.
const COLOURS: [(&str, &str, Colour); 18] = [
    (".isop-title,.isop-name,.isop-net,.isop-label,.isop-head", "fill", TEXT),
    (".isop-note", "fill", SOFT),
    (".isop-walltext,.isop-lock", "fill", ON),
    (".isop-shackle", "stroke", ON),
    (".isop-paper,.isop-box,.isop-way-hollow,.isop-exception-hollow,.isop-tile", "fill", PAGE),
    (".isop-box,.isop-port,.isop-cable", "stroke", SOFT),
    (".isop-host,.isop-tile", "stroke", LINE),
    (".isop-host", "fill", BAND),
    (".isop-port", "fill", PAGE),
    (".isop-way,.isop-way-hollow", "stroke", GOOD),
    (".isop-way-head", "fill", GOOD),
    (".isop-exception,.isop-exception-hollow", "stroke", HALF),
    (".isop-exception-head", "fill", HALF),
    (".isop-wall", "stroke", BAD),
    (".isop-wall", "fill", PAGE),
    (".isop-hatch", "stroke", BAD),
    (".isop-plate", "fill", BAD),
    (".isop-none", "stroke", SOFT),
];

const SHAPES: &str = "\
.isop text{font-family:system-ui,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;font-size:12px}
.isop .isop-title{font-size:19px;font-weight:700}
.isop .isop-head{font-size:13px;font-weight:700}
.isop .isop-name,.isop .isop-net{font-family:ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace}
.isop .isop-name{font-size:14px;font-weight:700}
.isop .isop-walltext{font-weight:700}
.isop .isop-mid{text-anchor:middle}
.isop-way,.isop-exception,.isop-cable,.isop-shackle,.isop-none{fill:none}
.isop-way{stroke-width:2}
.isop-exception{stroke-width:2;stroke-dasharray:7 4}
.isop-way-hollow,.isop-exception-hollow{stroke-width:1.5}
.isop-box,.isop-port{stroke-width:1.5}
.isop-host{stroke-width:1.5}
.isop-cable{stroke-width:5}
.isop-wall{stroke-width:1.5}
.isop-bricks{fill:url(#isop-hatches);stroke:none}
.isop-field{fill:url(#isop-hatches-thin);stroke:none}
.isop-hatch{stroke-width:3}
.isop-thin{stroke-width:1.2}
.isop-shackle{stroke-width:1.8}
.isop-tile{stroke-width:1}
";

fn colours(pick: impl Fn(Colour) -> String) -> String {
    let rule = |(selectors, property, colour): &(&str, &str, Colour)| {
        let selectors: Vec<String> =
            selectors.split(',').map(|selector| format!(".isop {selector}")).collect();
        format!("{}{{{property}:{}}}\n", selectors.join(","), pick(*colour))
    };
    COLOURS.iter().map(rule).collect()
}

/// Light everywhere but on a screen that is to be dark: a print is on white paper.
fn style(embed: Embed) -> String {
    let value = |(name, _, _): Colour, own: &str| match embed {
        Embed::Alone => own.to_owned(),
        Embed::Inline => format!("var({name},{own})"),
    };
    let light = colours(|colour| value(colour, colour.1));
    let dark = colours(|colour| value(colour, colour.2));
    format!(
        "{SHAPES}{light}@media screen and (prefers-color-scheme:dark){{\n{dark}}}\n\
         @media print{{.isop .isop-host{{fill:none}}.isop *{{print-color-adjust:exact;\
         -webkit-print-color-adjust:exact}}}}\n"
    )
}

/// The whole document or element.
pub(super) fn finish(model: &Model<'_>, canvas: &Canvas, embed: Embed) -> String {
    let (width, height) = canvas.size();
    let mut text = String::new();
    if embed == Embed::Alone {
        text.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    }
    text.push_str(&format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"isop\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"isop-title isop-desc\">\n\
         <title id=\"isop-title\">{}: {}</title>\n<desc id=\"isop-desc\">{}</desc>\n<style>\n{}</style>\n\
         <defs><pattern id=\"isop-hatches\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\" \
         patternTransform=\"rotate(45)\"><path class=\"isop-hatch\" d=\"M2 0V8\"/></pattern>\
         <pattern id=\"isop-hatches-thin\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\" \
         patternTransform=\"rotate(45)\"><path class=\"isop-hatch isop-thin\" d=\"M2 0V7\"/></pattern></defs>\n",
        escaped(model.file),
        Model::TITLE,
        escaped(&model.in_words()),
        style(embed),
    ));
    if embed == Embed::Alone {
        text.push_str(&format!("<rect class=\"isop-paper\" width=\"{width}\" height=\"{height}\"/>\n"));
    }
    // Its own class, because the style sheet looks no further in what `sheets` shows of it.
    text.push_str(&format!("<g id=\"isop-all\" class=\"isop\">\n{}</g>\n</svg>\n", canvas.body()));
    text
}

/// On paper a page is as wide and as high as this, in px, whether A4 or Letter, with some margin; and the other way
/// round.
const PAPER: [(i32, i32); 2] = [(680, 860), (930, 560)];

/// What is above it on the first sheet, in px.
const FIRST: i32 = 150;

/// The same picture for paper, cut into sheets where it is higher than one; nothing where it is not. It shows what the
/// element within the same page has, and has nothing of its own.
pub(super) fn sheets(canvas: &Canvas) -> String {
    let (width, _) = canvas.size();
    let (paper_width, paper_height) = PAPER[usize::from(is_landscape(canvas))];
    let scale = |px: i32| px * width.max(paper_width) / paper_width;
    let parts = canvas.parts(scale(paper_height), scale(FIRST));
    let mut text = String::new();
    if parts.len() < 2 {
        return text;
    }
    let view = |(top, bottom): (i32, i32), y: i32| {
        let size = bottom - top;
        format!(
            "<svg y=\"{y}\" width=\"{width}\" height=\"{size}\" viewBox=\"0 {top} {width} {size}\">\
             <use href=\"#isop-all\"/></svg>"
        )
    };
    for part in parts {
        let (head, below) = match part.head {
            Some((top, bottom)) => (view((top, bottom), 0), bottom - top),
            None => (String::new(), 0),
        };
        let whole = below + part.bottom - part.top;
        text.push_str(&format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"isop-sheet\" width=\"{width}\" height=\"{whole}\" \
             viewBox=\"0 0 {width} {whole}\" aria-hidden=\"true\">{head}{}</svg>\n",
            view((part.top, part.bottom), below)
        ));
    }
    text
}

/// Whether it is better read on paper that lies on its side.
pub(super) const fn is_landscape(canvas: &Canvas) -> bool {
    canvas.size().0 > 1000
}

/// Whether it leaves no room for anything else on paper that lies on its side.
pub(super) const fn is_tall(canvas: &Canvas) -> bool {
    let (width, height) = canvas.size();
    height * 100 > width * 60
}
