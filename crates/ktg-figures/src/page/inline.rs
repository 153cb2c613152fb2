//! SVG inside HTML.

use resvg::usvg::roxmltree::{Document, Node};

use crate::clean::clean;
use crate::svg::escaped;

/// An SVG, ready to stand in a page.
pub(super) struct Inline {
    /// The `svg` element alone, labelled for screen readers and free to change its size.
    pub element: String,
    /// Its title; empty if it has none.
    pub title: String,
}

impl Inline {
    /// Prepares an SVG; if it has no title, `otherwise` labels it. The error is the parser's sentence.
    pub fn new(svg: &str, otherwise: &str) -> Result<Inline, String> {
        let document = Document::parse(svg).map_err(|error| error.to_string())?;
        let root = document.root_element();
        let start = "<svg";
        let range = root.range();
        // Also true for prefixes such as `<svg:svg`, which HTML does not know.
        let Some(rest) = svg[range].strip_prefix(start).filter(|rest| !rest.starts_with([':', '-'])) else {
            return Err("it does not begin with <svg".to_owned());
        };
        let title = root.children().find(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "title")));
        let title = title.and_then(|node| node.text()).map(clean).unwrap_or_default();
        let label = if title.is_empty() { clean(otherwise) } else { title.clone() };
        let mut attributes = String::new();
        for (name, value) in [("role", "img"), ("aria-label", label.as_str())] {
            if root.attribute(name).is_none() {
                attributes += &format!(" {name}=\"{}\"", escaped(value));
            }
        }
        if root.attribute("viewBox").is_none()
            && let (Some(width), Some(height)) = (length(root, "width"), length(root, "height"))
        {
            // Without this a smaller picture would be cut off in place of scaled.
            attributes += &format!(" viewBox=\"0 0 {width} {height}\"");
        }
        Ok(Inline { element: format!("{start}{attributes}{rest}"), title })
    }
}

/// A size in pixels.
fn length(root: Node, name: &str) -> Option<f64> {
    root.attribute(name)?.trim_end_matches("px").trim().parse().ok().filter(|length: &f64| *length > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMESPACE: &str = "xmlns=\"http://www.w3.org/2000/svg\"";

    #[test]
    fn the_title_becomes_the_label() {
        let svg = format!("<?xml version=\"1.0\"?>\n<!-- x --><svg {NAMESPACE}><title>a &amp; \"b\"</title></svg>\n");
        let inline = Inline::new(&svg, "caption").unwrap();
        assert_eq!(inline.title, "a & \"b\"");
        let start = "<svg role=\"img\" aria-label=\"a &amp; &quot;b&quot;\" xmlns";
        assert!(inline.element.starts_with(start) && inline.element.ends_with("</svg>"), "{}", inline.element);
        let inline = Inline::new(&format!("<svg {NAMESPACE} role=\"none\"/>"), "caption").unwrap();
        assert!(inline.element.starts_with("<svg aria-label=\"caption\" xmlns"), "{}", inline.element);
    }

    #[test]
    fn a_picture_of_fixed_size_can_shrink() {
        let element = |attributes: &str| Inline::new(&format!("<svg {attributes} {NAMESPACE}/>"), "").unwrap().element;
        assert!(element("width=\"720px\" height=\"405.5\"").contains("viewBox=\"0 0 720 405.5\""));
        assert_eq!(element("width=\"9\" height=\"9\" viewBox=\"1 1 3 3\"").matches("viewBox").count(), 1);
        assert!(!element("width=\"100%\" height=\"9\"").contains("viewBox"));
    }

    #[test]
    fn what_is_no_svg_is_refused() {
        for svg in ["", "<svg", "<p>svg</p>", "<s:svg xmlns:s=\"http://www.w3.org/2000/svg\"/>", "<svg-x/>"] {
            assert!(Inline::new(svg, "").is_err(), "{svg}");
        }
    }
}
