//! One graph as SVG.

use super::curve::{Area, Point};
use super::layout::{EDGE_FONT, Layout, NODE_FONT, NUMBER_FONT, NodeShape, REMARK_FONT};
use super::legend::Legend;
use super::shapes::{EDGE_WIDTH, Look, casing, ellipse, escaped, group, rectangle, text, text_along};
use super::{lettering, palette};
use ktg_graph::Direction;
use ktg_graph::{Graph, edge_name};

pub(super) const MARGIN: f64 = 24.0;
pub(super) const TITLE_FONT: f64 = 17.0;
pub(super) const TITLE_HEIGHT: f64 = 34.0;
pub(super) const LONGEST_TITLE: usize = 60;

/// The graph as a self-contained SVG on a white background.
///
/// Up to six nodes every text is legible; with many more nodes the picture only gives an impression.
pub fn svg(graph: &Graph) -> String {
    let layout = Layout::of(graph);
    let bounds = layout.bounds();
    let title = lettering::shortened(graph.name.as_deref().unwrap_or_default(), LONGEST_TITLE);
    let title_height = if title.is_empty() { 0.0 } else { TITLE_HEIGHT };
    let legend = Legend::of(&[graph], (2.0 * bounds.half.x).max(560.0));
    let width = (2.0 * bounds.half.x).max(legend.width()).max(title_width(&title)) + 2.0 * MARGIN;
    let height = title_height + 2.0 * bounds.half.y + MARGIN + legend.height() + 2.0 * MARGIN;
    let top_left =
        Point { x: bounds.centre.x - width / 2.0, y: bounds.centre.y - bounds.half.y - title_height - MARGIN };
    let described = if title.is_empty() { "Knowledge transfer graph" } else { &title };
    let mut svg = start(top_left, width, height, described);
    if !title.is_empty() {
        let at = Point { x: bounds.centre.x, y: top_left.y + MARGIN + TITLE_FONT / 2.0 };
        svg += &text(at, TITLE_FONT, palette::TEXT, " font-weight=\"bold\"", &title);
    }
    svg += &elements(&layout);
    svg += &legend.svg(Point { x: bounds.centre.x, y: bounds.centre.y + bounds.half.y + MARGIN });
    svg + "</svg>\n"
}

pub(super) fn title_width(title: &str) -> f64 {
    1.12 * TITLE_FONT * lettering::width(title)
}

/// The beginning of a file: the root element, its description and the background.
pub(super) fn start(top_left: Point, width: f64, height: f64, described: &str) -> String {
    let Point { x, y } = top_left;
    let (described, fonts) = (escaped(described), lettering::FONTS);
    let half = Point { x: width / 2.0, y: height / 2.0 };
    let background = rectangle(&Area { centre: top_left + half, half }, palette::BACKGROUND, "");
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"{x:.1} {y:.1} {width:.1} {height:.1}\" font-family=\"{fonts}\" text-anchor=\"middle\" \
         role=\"img\">\n<title>{described}</title>\n{background}"
    )
}

/// Everything that belongs to one graph, around the origin.
pub(super) fn elements(layout: &Layout) -> String {
    let mut svg = String::new();
    let mean_look = Look { colour: palette::MEAN, width: 1.0, direction: Direction::Closer };
    for mean in &layout.means {
        let arrow = mean_look.line(mean, true) + &mean_look.arrow_head(mean);
        svg += &group("the ensemble averages all nodes", &arrow);
    }
    // Heads come after all lines, texts last.
    let (mut heads, mut texts) = (String::new(), String::new());
    for edge in &layout.transfers {
        let (design, gate) = (edge.transfer.design, edge.transfer.gate);
        let tooltip = format!("{}: {design}, {gate}", edge_name(Some(edge.source), edge.target));
        let look = Look { colour: palette::gate(gate), width: EDGE_WIDTH, direction: design.direction() };
        let [before, behind] = edge.pieces();
        let casing = casing(&edge.curve.part(0.12, 0.88));
        svg += &group(&tooltip, &(casing + &look.line(&before, false) + &look.line(&behind, true)));
        heads += &look.arrow_head(&edge.curve);
        texts += &group(&tooltip, &text_along(&edge.text, EDGE_FONT, look.colour, design.label()));
    }
    svg += &heads;
    for label in &layout.labels {
        let look = Look { colour: palette::gate(label.gate), width: EDGE_WIDTH, direction: Direction::Closer };
        let mut arrow = look.line(&label.curve, true) + &look.arrow_head(&label.curve);
        arrow += &rectangle(&label.area, palette::LABEL, &format!(" stroke=\"{}\" rx=\"3\"", palette::RIM));
        arrow += &text(label.area.centre, EDGE_FONT, palette::TEXT, "", "Label");
        svg += &group(&format!("{}: {}", edge_name(None, label.target), label.gate), &arrow);
    }
    svg += &ellipse(&layout.ensemble, palette::ENSEMBLE, palette::ENSEMBLE_RIM, "");
    svg += &text(layout.ensemble.centre, 13.0, palette::TEXT, " font-weight=\"bold\"", "Ensemble");
    for (i, shape) in layout.nodes.iter().enumerate() {
        svg += &node(i, shape);
    }
    svg + &texts
}

fn node(index: usize, shape: &NodeShape) -> String {
    let area = &shape.area;
    let frozen = shape.remark == Some("frozen");
    let mut svg = ellipse(area, palette::NODE, palette::RIM, if frozen { " stroke-width=\"2.5\"" } else { "" });
    let line = |y: f64| area.centre + Point { x: 0.0, y };
    let lines = shape.name.len() + usize::from(shape.remark.is_some());
    let mut y = -7.5 * lines as f64;
    svg += &text(line(y), NUMBER_FONT, palette::TEXT, " font-weight=\"bold\"", &(index + 1).to_string());
    y += 17.0;
    for part in &shape.name {
        svg += &text(line(y), NODE_FONT, palette::TEXT, "", part);
        y += 13.5;
    }
    if let Some(remark) = shape.remark {
        svg += &text(line(y), REMARK_FONT, palette::REMARK, " font-style=\"italic\"", remark);
    }
    group(&format!("node {}: {}", index + 1, shape.full), &svg)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ktg_graph::Node;
    use ktg_graph::presets;

    #[test]
    fn shows_what_the_graph_says() {
        let svg = svg(&presets::kd(3, "student", Node::new("teacher")));
        assert_eq!(svg.matches(">Label<").count(), 2);
        assert_eq!(svg.matches(">Prob closer<").count(), 2);
        assert_eq!(svg.matches(">frozen<").count(), 1);
        assert_eq!(svg.matches(">student<").count(), 2);
        assert!(svg.contains("1 -&gt; 3: probability closer, through"));
        assert!(svg.contains(">through</text>") && !svg.contains(">linear</text>"));
        assert!(svg.contains(">closer</text>") && !svg.contains(">apart</text>"));
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
