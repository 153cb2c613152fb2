//! Graphs as SVG.

use super::curve::{Area, Curve, Point};
use super::layout::{ADVANCE, EDGE_FONT, Layout, NODE_FONT, shortened};
use super::{ENSEMBLE_COLOUR, MEAN_COLOUR, NODE_COLOUR, remark};
use crate::gate::Gate;
use crate::graph::Graph;

const MARGIN: f64 = 24.0;
const TITLE_FONT: f64 = 18.0;
const LEGEND_HEIGHT: f64 = 36.0;

/// The graph as a self-contained SVG on a white background.
///
/// Up to six nodes every text is legible; with many more nodes the picture only gives an impression.
pub fn svg(graph: &Graph) -> String {
    let layout = Layout::of(graph);
    let legend = legend_gates(graph);
    let bounds = layout.bounds();
    let title_height = if graph.name.is_some() { 36.0 } else { 0.0 };
    let legend_width = legend.len() as f64 * LEGEND_ENTRY + 50.0;
    let title = shortened_title(graph.name.as_deref().unwrap_or_default());
    let title_width = title.chars().count() as f64 * ADVANCE * TITLE_FONT * 1.1;
    let width = (2.0 * bounds.half.x).max(legend_width).max(title_width) + 2.0 * MARGIN;
    let height = 2.0 * bounds.half.y + title_height + LEGEND_HEIGHT + 2.0 * MARGIN;
    let left = bounds.centre.x - width / 2.0;
    let top = bounds.centre.y - bounds.half.y - title_height - MARGIN;

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"{left:.1} {top:.1} {width:.1} {height:.1}\" \
         font-family=\"Helvetica, Arial, sans-serif\" text-anchor=\"middle\">\n"
    );
    let described = if title.is_empty() { "Knowledge transfer graph" } else { &title };
    svg += &format!("<title>{}</title>\n", escaped(described));
    svg +=
        &format!("<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"white\"/>\n");
    if !title.is_empty() {
        let at = Point { x: bounds.centre.x, y: top + MARGIN + TITLE_FONT / 2.0 };
        svg += &text(at, TITLE_FONT, "#222", " font-weight=\"bold\"", &title);
    }
    for mean in &layout.means {
        svg += &arrow(mean, MEAN_COLOUR, 0.9, "the ensemble averages all nodes");
    }
    for edge in &layout.transfers {
        let transfer = edge.transfer;
        let tooltip = format!("{} -> {}: {}, {}", edge.source + 1, edge.target + 1, transfer.design, transfer.gate);
        svg += &arrow(&edge.curve, transfer.gate.colour(), 1.8, &tooltip);
    }
    for label in &layout.labels {
        svg += &arrow(&label.curve, label.gate.colour(), 1.8, label.gate.name());
        svg += &rectangle(&label.area, "white", " stroke=\"#666\" rx=\"3\"");
        svg += &text(label.area.centre, EDGE_FONT, "#222", "", "Label");
    }
    svg += &ellipse(&layout.ensemble, ENSEMBLE_COLOUR, "#a03a36", "");
    svg += &text(layout.ensemble.centre, 13.0, "#222", " font-weight=\"bold\"", "Ensemble");
    for (i, area) in layout.nodes.iter().enumerate() {
        svg += &node(graph, i, area);
    }
    // Texts come last, above every line.
    for edge in &layout.transfers {
        let colour = edge.transfer.gate.colour();
        svg += &rectangle(&edge.text, "white", " fill-opacity=\"0.9\"");
        svg += &text(edge.text.centre, EDGE_FONT, colour, "", edge.transfer.design.label());
    }
    let middle = Point { x: bounds.centre.x, y: top + height - MARGIN };
    svg += &draw_legend(&legend, middle);
    svg += "</svg>\n";
    svg
}

fn shortened_title(name: &str) -> String {
    const LONGEST: usize = 60;
    if name.chars().count() <= LONGEST {
        return name.to_owned();
    }
    name.chars().take(LONGEST - 1).chain(['…']).collect()
}

fn node(graph: &Graph, index: usize, area: &Area) -> String {
    let node = &graph.nodes()[index];
    let dash = if node.frozen { " stroke-dasharray=\"5 3\"" } else { "" };
    let mut svg = ellipse(area, NODE_COLOUR, "#666", dash);
    let remark = remark(graph, index);
    let line = |y: f64| area.centre + Point { x: 0.0, y };
    let first = if remark.is_some() { -16.0 } else { -8.0 };
    let number = (index + 1).to_string();
    svg += &text(line(first), 16.0, "#222", " font-weight=\"bold\"", &number);
    svg += &text(line(first + 18.0), NODE_FONT, "#222", "", &shortened(&node.architecture));
    if let Some(remark) = remark {
        svg += &text(line(first + 33.0), 11.0, "#444", " font-style=\"italic\"", remark);
    }
    svg
}

/// The gates that the picture shows, in their usual order.
fn legend_gates(graph: &Graph) -> Vec<Gate> {
    let labels = (0..graph.len()).map(|target| graph.label_gate(target));
    let transfers = graph.active_transfers().map(|(_, _, transfer)| transfer.gate);
    let used: Vec<Gate> = labels.chain(transfers).collect();
    let shown = Gate::ALL.into_iter().filter(|gate| !gate.is_cut());
    shown.filter(|gate| used.contains(gate)).collect()
}

/// Width of one gate in the legend.
const LEGEND_ENTRY: f64 = 104.0;

fn draw_legend(gates: &[Gate], middle: Point) -> String {
    let Some(last) = gates.len().checked_sub(1) else {
        return String::new();
    };
    let mut svg = String::new();
    let heading = 50.0;
    let left = middle.x - (last as f64 * LEGEND_ENTRY + LEGEND_ENTRY + heading) / 2.0;
    let at = |x: f64| Point { x: left + x, y: middle.y };
    let start = " text-anchor=\"start\"";
    svg += &text(at(0.0), EDGE_FONT, "#222", &format!("{start} font-weight=\"bold\""), "Gate");
    for (i, gate) in gates.iter().enumerate() {
        let x = heading + i as f64 * LEGEND_ENTRY;
        let sample = Curve::bent(at(x), at(x + 32.0), 0.0);
        svg += &arrow(&sample, gate.colour(), 1.8, gate.name());
        svg += &text(at(x + 40.0), EDGE_FONT, gate.colour(), start, gate.name());
    }
    svg
}

fn ellipse(area: &Area, fill: &str, stroke: &str, attributes: &str) -> String {
    format!(
        "<ellipse cx=\"{:.1}\" cy=\"{:.1}\" rx=\"{:.1}\" ry=\"{:.1}\" fill=\"{fill}\" stroke=\"{stroke}\"{attributes}/>\n",
        area.centre.x, area.centre.y, area.half.x, area.half.y
    )
}

fn rectangle(area: &Area, fill: &str, attributes: &str) -> String {
    let corner = area.centre - area.half;
    format!(
        "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{fill}\"{attributes}/>\n",
        corner.x,
        corner.y,
        2.0 * area.half.x,
        2.0 * area.half.y
    )
}

/// Text whose vertical middle is at the point.
fn text(at: Point, size: f64, colour: &str, attributes: &str, text: &str) -> String {
    // Not every renderer knows `dominant-baseline`; capitals are about 0.72 of the font size high.
    let baseline = at.y + 0.36 * size;
    format!(
        "<text x=\"{:.1}\" y=\"{baseline:.1}\" font-size=\"{size}\" fill=\"{colour}\"{attributes}>{}</text>\n",
        at.x,
        escaped(text)
    )
}

/// A curve with an arrow head at its end.
fn arrow(curve: &Curve, colour: &str, width: f64, tooltip: &str) -> String {
    let size = 5.0 + 2.5 * width;
    let direction = curve.final_direction();
    let back = curve.to - direction * size;
    let side = direction.normal() * (0.42 * size);
    let (left, right) = (back + side, back - side);
    // The line ends inside the head, so that its blunt end does not show.
    let end = curve.to - direction * (0.6 * size);
    format!(
        "<g><title>{}</title><path d=\"M{:.1} {:.1}Q{:.1} {:.1} {:.1} {:.1}\" fill=\"none\" \
         stroke=\"{colour}\" stroke-width=\"{width}\"/><path d=\"M{:.1} {:.1}L{:.1} {:.1}L{:.1} {:.1}Z\" \
         fill=\"{colour}\"/></g>\n",
        escaped(tooltip),
        curve.from.x,
        curve.from.y,
        curve.control.x,
        curve.control.y,
        end.x,
        end.y,
        curve.to.x,
        curve.to.y,
        left.x,
        left.y,
        right.x,
        right.y
    )
}

/// Text for XML, which has no way to write most control characters at all.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\n' | '\r' | '\t' => escaped.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Node;
    use crate::presets;

    #[test]
    fn shows_what_the_graph_says() {
        let svg = svg(&presets::kd(3, "student", Node::new("teacher")));
        assert_eq!(svg.matches(">Label<").count(), 2);
        assert_eq!(svg.matches(">Prob closer<").count(), 2);
        assert_eq!(svg.matches(">frozen<").count(), 1);
        assert_eq!(svg.matches(">student<").count(), 2);
        assert!(svg.contains("1 -&gt; 3: probability closer, through"));
        assert!(svg.contains(">through</text>") && !svg.contains(">linear</text>"));
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn text_is_escaped() {
        let mut graph = presets::independent(1, "<a&\"b\">");
        graph.name = Some("x\u{7}</svg>".to_owned());
        let svg = svg(&graph);
        assert!(svg.contains("&lt;a&amp;&quot;b&quot;&gt;"));
        assert!(svg.contains("<title>x\u{fffd}&lt;/svg&gt;</title>"));
        assert_eq!(svg.matches("</svg>").count(), 1);
    }

    #[test]
    fn any_size_can_be_drawn() {
        for m in [0, 1, 20] {
            let svg = svg(&presets::dml(m, &"long ".repeat(30)));
            assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN"), "M = {m}");
        }
    }
}
