//! A Graphviz graph.

use super::model::{Head, Model, Node};
use crate::intent::Intent;

/// A quoted string of the DOT language; lines are set to the left.
fn quoted(lines: &[String]) -> String {
    let mut safe = String::from("\"");
    for line in lines {
        for c in line.chars() {
            match c {
                '"' | '\\' => safe.extend(['\\', c]),
                c if c.is_control() => safe.push(' '),
                c => safe.push(c),
            }
        }
        if lines.len() > 1 {
            safe.push_str("\\l");
        }
    }
    safe.push('"');
    safe
}

fn node_lines(node: &Node) -> Vec<String> {
    let mut lines = vec![node.label.clone()];
    lines.extend(node.subnets.iter().cloned());
    lines.extend(node.notes.iter().cloned());
    lines
}

/// The picture as the source of a Graphviz graph: `dot -Tsvg`.
///
/// A guarded NIC has double walls and says for whom it is blocked. An exception is dashed. What was published comes
/// back on an arrow with an empty head.
pub fn dot(intent: &Intent<'_>) -> String {
    let model = Model::new(intent);
    let mut title = vec![Model::TITLE.to_owned(), format!("{}: {}", model.file, model.counted())];
    title.push("No arrow: nothing but answers passes.".to_owned());
    title.extend(model.left_out());
    title.extend(model.caveat().map(str::to_owned));
    let mut text = format!(
        "// Made by isoplan.\ndigraph isoplan {{\n  rankdir=LR;\n  ranksep=1.5;\n  labelloc=t;\n  labeljust=l;\n  \
         fontname=\"sans-serif\";\n  label={};\n  \
         node [shape=box, style=rounded, fontname=\"sans-serif\", fontsize=12];\n  \
         edge [fontname=\"sans-serif\", fontsize=10];\n",
        quoted(&title)
    );
    text.push_str("  subgraph cluster_host {\n    label=\"this host\";\n");
    for node in &model.nodes[..model.left] {
        let mut told = node_lines(node);
        told.insert(1, node.kind.clone());
        text.push_str(&format!("    {} [label={}];\n", node.id, quoted(&told)));
    }
    text.push_str("  }\n");
    for (place, node) in model.nodes.iter().enumerate().skip(model.left) {
        let mut told = node_lines(node);
        let wall = model.wall(place);
        let shape = if wall.is_some() { ", style=bold, peripheries=2, color=\"#a8201a\"" } else { "" };
        told.extend(wall);
        text.push_str(&format!("  {} [label={}{shape}];\n", node.id, quoted(&told)));
    }
    let size = model.nodes.len();
    for (from, to) in (0..size).flat_map(|from| (0..size).map(move |to| (from, to))) {
        let ids = format!("{} -> {}", model.nodes[from].id, model.nodes[to].id);
        // Networks to the left, NICs to the right, whoever opens.
        let rank = if model.is_nic(to) && !model.is_nic(from) { "" } else { ", constraint=false" };
        match model.head(from, to) {
            Head::Open => text.push_str(&format!("  {ids} [label=\"open\"{rank}];\n")),
            Head::Published => {
                text.push_str(&format!("  {ids} [label=\"published\", arrowhead=empty{rank}];\n"));
            }
            Head::None => {}
        }
        let what: Vec<String> = model
            .exceptions
            .iter()
            .filter(|one| (one.from, one.to) == (from, to))
            .map(|one| one.what.clone())
            .collect();
        if !what.is_empty() {
            text.push_str(&format!("  {ids} [label={}, style=dashed{rank}];\n", quoted(&what)));
        }
    }
    text.push_str("}\n");
    text
}
