//! Figures that follow the colors of the page they stand in.

use std::ops::Range;

use resvg::usvg::roxmltree::{Document, Node};

use super::PALETTE;

/// The custom property of a light color, as a CSS value: `#1d232b` becomes `var(--c-1d232b)`.
pub fn variable(light: &str) -> String {
    format!("var(--c-{})", light.trim_start_matches('#'))
}

/// The custom properties: light, dark where the reader prefers it, and always light on paper.
pub fn css() -> String {
    let light: String = PALETTE.iter().map(|(light, _)| declaration(light, light)).collect();
    let dark: String = PALETTE.iter().map(|(light, dark)| declaration(light, dark)).collect();
    format!(
        ":root{{{light}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n@media print{{:root{{{light}}}}}\n"
    )
}

fn declaration(light: &str, value: &str) -> String {
    format!("--c-{}:{value};", light.trim_start_matches('#'))
}

/// The SVG made fit to stand inline in an HTML page.
///
/// Its colors become custom properties (see [`css`]), its ids and the references to them get the prefix, so that
/// several figures can share a page, and its fixed size becomes the largest that it takes. What is no XML stays as it
/// is.
pub fn themed(svg: &str, prefix: &str) -> String {
    let svg = without_prolog(svg);
    let Ok(document) = Document::parse(svg) else { return svg.to_owned() };
    // What stands where in place of what, in the order of the text.
    let mut changes: Vec<(Range<usize>, String)> = sizes(document.root_element(), svg);
    for attribute in document.descendants().flat_map(|node| node.attributes()) {
        let value = attribute.range_value();
        changes.push((value.clone(), value_themed(attribute.name(), &svg[value], prefix)));
    }
    changes.sort_by_key(|(range, _)| range.start);
    let mut themed = String::with_capacity(svg.len() + svg.len() / 4);
    let mut done = 0;
    for (range, text) in changes {
        // The value of an attribute that was removed is behind us.
        if range.start >= done {
            themed += &svg[done..range.start];
            themed += &text;
            done = range.end;
        }
    }
    themed + &svg[done..]
}

/// HTML knows no XML declaration.
fn without_prolog(svg: &str) -> &str {
    let svg = svg.trim_start_matches('\u{feff}').trim_start();
    match svg.strip_prefix("<?xml").and_then(|rest| rest.split_once("?>")) {
        Some((_, svg)) => svg.trim_start(),
        None => svg,
    }
}

/// Removes the width and the height of the root, and adds a style for the width.
fn sizes(root: Node, svg: &str) -> Vec<(Range<usize>, String)> {
    let mut changes = Vec::new();
    for attribute in root.attributes().filter(|attribute| matches!(attribute.name(), "width" | "height")) {
        let Range { start, end } = attribute.range();
        changes.push((svg[..start].trim_end().len()..end, String::new()));
    }
    let width = root.attribute("width").and_then(|width| width.trim_end_matches("px").parse::<f64>().ok());
    if let (Some(width), Some(last)) = (width.filter(|width| width.is_finite()), root.attributes().next_back()) {
        let end = last.range().end;
        changes.push((end..end, format!(" style=\"width:100%;max-width:{width}px;height:auto\"")));
    }
    changes
}

fn value_themed(name: &str, value: &str, prefix: &str) -> String {
    match name {
        "id" => format!("{prefix}{value}"),
        "href" => value.strip_prefix('#').map_or(value.to_owned(), |id| format!("#{prefix}{id}")),
        "aria-labelledby" | "aria-describedby" => {
            let ids: Vec<String> = value.split_whitespace().map(|id| format!("{prefix}{id}")).collect();
            ids.join(" ")
        }
        _ => colored(&value.replace("url(#", &format!("url(#{prefix}"))),
    }
}

/// A color of the palette as its custom property, whichever case it is written in; anything else as it is.
fn colored(value: &str) -> String {
    match PALETTE.iter().find(|(light, _)| light.eq_ignore_ascii_case(value)) {
        Some((light, _)) => variable(light),
        None => value.to_owned(),
    }
}
