//! The host as a picture: networks of containers, NICs, and who may open connections to whom.
//!
//! `model` groups and names what is drawn. The SVG is laid out by `boxes` while it stays a few boxes, and by
//! `grid` beyond; the Mermaid and Graphviz sources leave the layout to those programs.

mod boxes;
mod canvas;
mod dot;
mod glyph;
mod grid;
mod measure;
mod mermaid;
mod model;
mod style;

pub use dot::dot;
pub use mermaid::mermaid;

use crate::intent::Intent;
use canvas::Canvas;
use model::Model;

/// What an SVG is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Embed {
    /// A file of its own: with an XML declaration, its own colours, light and dark, and a background.
    Alone,
    /// An element within an HTML page. Its colours are the page's custom properties `--text`, `--soft`, `--page`,
    /// `--line`, `--band`, `--good`, `--bad`, `--half` and `--on`, with its own where the page has none. Ids and
    /// classes start with `isop-`, the class of the whole is `isop`. It is as wide as its text needs: on a narrow
    /// screen the page has to put it into something that scrolls.
    Inline,
}

/// The picture as SVG, one element for each way, all text as text.
pub fn svg(intent: &Intent<'_>, embed: Embed) -> String {
    let (model, canvas) = drawn(intent);
    style::finish(&model, &canvas, embed)
}

/// A picture for a page, and how it goes onto paper.
pub(super) struct ForPage {
    /// As [`svg`] with [`Embed::Inline`].
    pub svg: String,
    /// Its width in px.
    pub width: i32,
    /// The same in several sheets, none of which is higher than one of paper; empty where one is enough.
    pub sheets: String,
    /// Whether the paper is to lie on its side.
    pub is_landscape: bool,
    /// Whether it leaves no room for anything else there.
    pub is_tall: bool,
}

/// The picture for a page.
pub(super) fn for_page(intent: &Intent<'_>) -> ForPage {
    let (model, canvas) = drawn(intent);
    ForPage {
        svg: style::finish(&model, &canvas, Embed::Inline),
        width: canvas.size().0,
        sheets: style::sheets(&canvas),
        is_landscape: style::is_landscape(&canvas),
        is_tall: style::is_tall(&canvas),
    }
}

fn drawn<'t>(intent: &Intent<'t>) -> (Model<'t>, Canvas) {
    let mut model = Model::new(intent);
    let mut canvas = Canvas::default();
    if boxes::fits(&model) {
        boxes::draw(&model, &mut canvas);
    } else {
        model = model.by_name();
        grid::draw(&model, &mut canvas);
    }
    (model, canvas)
}
