//! A Mermaid flowchart, as GitHub and GitLab draw it.

use super::model::{Head, Model, Node};
use crate::intent::Intent;

/// A label between quotes: what Mermaid would read as something else is an entity code (`#35;`).
fn quoted(text: &str) -> String {
    let mut safe = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '#' | '<' | '>' | '&' | '`' | '\\' | ';' => safe.push_str(&format!("#{};", u32::from(c))),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe.push('"');
    safe
}

/// Lines of a label.
fn lines(lines: &[String]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| quoted(line).trim_matches('"').to_owned()).collect();
    format!("\"{}\"", lines.join("<br/>"))
}

fn node_lines(node: &Node) -> Vec<String> {
    let mut lines = vec![node.label.clone()];
    lines.extend(node.subnets.iter().cloned());
    lines.extend(node.notes.iter().cloned());
    lines
}

/// The picture as the source of a Mermaid flowchart.
///
/// A guarded NIC has double walls and says for whom it is blocked. An exception is dashed. What was published comes
/// back on a dotted arrow.
pub fn mermaid(intent: &Intent<'_>) -> String {
    let model = Model::new(intent);
    let one_line = |text: &str| text.replace(|c: char| c.is_control(), " ");
    let mut text = format!(
        "%% Made by isoplan from {}. No arrow: nothing but answers passes.\nflowchart LR\n",
        one_line(model.file).replace(['{', '}'], " ")
    );
    // GitHub shows it to screen readers.
    text.push_str(&format!("  accTitle: {}\n", Model::TITLE));
    let words = one_line(&model.in_words()).replace(['{', '}', '#', ';', '%'], " ");
    text.push_str(&format!("  accDescr: {words}\n"));
    text.push_str("  subgraph host [\"this host\"]\n    direction LR\n");
    for node in &model.nodes[..model.left] {
        let mut told = node_lines(node);
        told.insert(1, node.kind.clone());
        text.push_str(&format!("    {}[{}]\n", node.id, lines(&told)));
    }
    if model.left == 0 {
        text.push_str("    nobody[\"no networks of containers\"]\n");
    }
    text.push_str("  end\n");
    let mut guarded = Vec::new();
    for (place, node) in model.nodes.iter().enumerate().skip(model.left) {
        let mut told = node_lines(node);
        let wall = model.wall(place);
        told.extend(wall.clone());
        let label = lines(&told);
        match wall {
            Some(_) => {
                text.push_str(&format!("  {}[[{label}]]\n", node.id));
                guarded.push(node.id.as_str());
            }
            None => text.push_str(&format!("  {}([{label}])\n", node.id)),
        }
    }
    let size = model.nodes.len();
    for (from, to) in (0..size).flat_map(|from| (0..size).map(move |to| (from, to))) {
        let ids = (&model.nodes[from].id, &model.nodes[to].id);
        match model.head(from, to) {
            Head::Open => text.push_str(&format!("  {} -->|open| {}\n", ids.0, ids.1)),
            Head::Published => text.push_str(&format!("  {} -.->|published| {}\n", ids.0, ids.1)),
            Head::None => {}
        }
        let what: Vec<String> = model
            .exceptions
            .iter()
            .filter(|one| (one.from, one.to) == (from, to))
            .map(|one| one.what.clone())
            .collect();
        if !what.is_empty() {
            text.push_str(&format!("  {} -.->|{}| {}\n", ids.0, lines(&what), ids.1));
        }
    }
    for (id, note) in [("more", model.left_out()), ("caveat", model.caveat().map(str::to_owned))] {
        if let Some(note) = note {
            text.push_str(&format!("  {id}>{}]\n", quoted(&note)));
        }
    }
    if !guarded.is_empty() {
        text.push_str("  classDef guarded stroke:#a8201a,stroke-width:3px\n");
        text.push_str(&format!("  class {} guarded\n", guarded.join(",")));
    }
    text
}
