//! Figures that follow the colours of the page they stand in.

use super::pairs;

/// The custom property of a light colour, as a CSS value: `#1d232b` becomes `var(--c-1d232b)`.
pub fn variable(light: &str) -> String {
    format!("var(--c-{})", light.trim_start_matches('#'))
}

/// The custom properties: light, dark where the reader prefers it, and always light on paper.
pub fn css() -> String {
    let light: String = pairs().map(|(light, _)| declaration(light, light)).collect();
    let dark: String = pairs().map(|(light, dark)| declaration(light, dark)).collect();
    format!(
        ":root{{{light}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n@media print{{:root{{{light}}}}}\n"
    )
}

fn declaration(light: &str, value: &str) -> String {
    format!("--c-{}:{value};", light.trim_start_matches('#'))
}

/// The SVG made fit to stand inline in an HTML page.
///
/// Its colours become custom properties (see [`css`]), its ids and the references to them get the prefix, so that
/// several figures can share a page, and its fixed size becomes the largest that it takes.
pub fn themed(svg: &str, prefix: &str) -> String {
    let svg = without_prolog(svg);
    let mut themed = String::with_capacity(svg.len() + svg.len() / 4);
    let mut rest = svg;
    let mut root = true;
    while let Some(start) = rest.find('<') {
        themed += &rest[..start];
        rest = &rest[start..];
        let end = tag_end(rest);
        let (tag, after) = rest.split_at(end);
        if tag.starts_with("<!") || tag.starts_with("</") {
            themed += tag;
        } else {
            let is_root = root && is_svg(tag);
            root &= !is_root;
            themed += &tag_themed(tag, prefix, is_root);
        }
        rest = after;
    }
    themed + rest
}

/// HTML knows no XML declaration.
fn without_prolog(svg: &str) -> &str {
    let svg = svg.trim_start_matches('\u{feff}').trim_start();
    match svg.strip_prefix("<?xml").and_then(|rest| rest.split_once("?>")) {
        Some((_, svg)) => svg.trim_start(),
        None => svg,
    }
}

fn is_svg(tag: &str) -> bool {
    tag.strip_prefix("<svg").is_some_and(|rest| rest.starts_with([' ', '\n', '\t', '\r', '>', '/']))
}

/// Where the tag, comment or section at the start of the text ends.
fn tag_end(text: &str) -> usize {
    for (opening, closing) in [("<!--", "-->"), ("<![CDATA[", "]]>")] {
        if text.starts_with(opening) {
            return text.find(closing).map_or(text.len(), |at| at + closing.len());
        }
    }
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, '>') => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn tag_themed(tag: &str, prefix: &str, root: bool) -> String {
    let mut themed = String::with_capacity(tag.len() + 16);
    let mut width = None;
    let mut rest = tag;
    // What stands before an attribute's value ends in `name=`.
    while let Some(at) = rest.find(['"', '\'']) {
        let quote = &rest[at..at + 1];
        let Some(length) = rest[at + 1..].find(quote) else { break };
        let (before, value) = (&rest[..at], &rest[at + 1..at + 1 + length]);
        let name = before.trim_end_matches('=').rsplit([' ', '\n', '\t', '\r']).next().unwrap_or_default();
        rest = &rest[at + length + 2..];
        if root && matches!(name, "width" | "height") {
            themed += before.trim_end_matches('=').trim_end_matches(name).trim_end();
            if name == "width" {
                width = value.trim_end_matches("px").parse::<f64>().ok().filter(|width| width.is_finite());
            }
        } else {
            themed += &format!("{before}{quote}{}{quote}", value_themed(name, value, prefix));
        }
    }
    if let (true, Some(width)) = (root, width) {
        themed += &format!(" style=\"width:100%;max-width:{width}px;height:auto\"");
    }
    themed + rest
}

fn value_themed(name: &str, value: &str, prefix: &str) -> String {
    match name {
        "id" => return format!("{prefix}{value}"),
        "href" | "xlink:href" => {
            return value.strip_prefix('#').map_or(value.to_owned(), |id| format!("#{prefix}{id}"));
        }
        "aria-labelledby" | "aria-describedby" => {
            let ids: Vec<String> = value.split_whitespace().map(|id| format!("{prefix}{id}")).collect();
            return ids.join(" ");
        }
        _ => {}
    }
    if !value.contains('#') {
        return value.to_owned();
    }
    let value = value.replace("url(#", &format!("url(#{prefix}"));
    coloured(&value)
}

/// The text with the palette's colours replaced, whichever case they are written in.
fn coloured(value: &str) -> String {
    let mut coloured = String::with_capacity(value.len() + 8);
    let mut rest = value;
    while let Some(at) = rest.find('#') {
        coloured += &rest[..at];
        rest = &rest[at..];
        let digits = rest[1..].bytes().take_while(u8::is_ascii_hexdigit).count();
        let light = rest[..=digits].to_ascii_lowercase();
        if digits == 6 && pairs().any(|(known, _)| known == light) {
            coloured += &variable(&light);
        } else {
            coloured += &rest[..=digits];
        }
        rest = &rest[digits + 1..];
    }
    coloured + rest
}
