//! Graphs as SVG: one, or several on a sheet.

use ktg_graph::{Direction, Gate, Graph, edge_name};
use kurbo::{ParamCurve, Point, QuadBez, Rect};

use super::arrange::{EDGE_FONT, EDGE_LINE, NODE_FONT, NUMBER_FONT, arranged, on_circle};
use super::curve::before_end;
use super::layout::{Layout, NodeShape};
use crate::palette::{self, AXIS, ENSEMBLE, ENSEMBLE_NODE, INK, MEAN, NODE, PANEL, PAPER, SOFT_INK};
use crate::svg::{self, Anchor, Key, MARGIN, Pattern, Sheet, Stroke, Type, point, short, shortened, width};

const EDGE_WIDTH: f64 = 1.8;
/// Between neighboring graphs.
const GAP: f64 = 30.0;
/// Graphs on a sheet are smaller by this, as a sheet is large and is seen from further away than its size says.
const SMALLER: f64 = 0.85;
const CAPTION_HEIGHT: f64 = 28.0;
/// Longer captions are shortened.
const LONGEST_CAPTION: f64 = 560.0;
/// The legend has room in this.
const LEAST_WIDTH: f64 = 420.0;

/// The graph as a self-contained SVG, below its name and a legend.
///
/// Up to six nodes every text is legible; with many more nodes the picture only gives an impression.
pub fn svg(graph: &Graph) -> String {
    let title = graph.name.as_deref().unwrap_or_default();
    drawn(&[(graph, "")], 1, 1.0, title, "Knowledge transfer graph")
}

/// Several graphs side by side, each below its caption, with one legend for all.
///
/// The graphs are placed row by row, `columns` to a row, all at the same scale; those with equally many nodes are also
/// equally large, so that they can be compared node by node. A caption may be empty.
pub fn sheet(graphs: &[(&Graph, &str)], columns: usize) -> String {
    drawn(graphs, columns.clamp(1, graphs.len().max(1)), SMALLER, "", "Knowledge transfer graphs")
}

fn drawn(graphs: &[(&Graph, &str)], columns: usize, scale: f64, title: &str, what: &str) -> String {
    let style = Type::new(svg::TEXT, INK).bold().anchored(Anchor::Middle);
    let shorten = |(_, caption): &(&Graph, &str)| shortened(caption, style.size, true, LONGEST_CAPTION);
    let captions: Vec<String> = graphs.iter().map(shorten).collect();
    let caption_height = if captions.iter().all(String::is_empty) { 0.0 } else { CAPTION_HEIGHT };
    let all: Vec<&Graph> = graphs.iter().map(|(graph, _)| *graph).collect();
    let layouts = layouts(&all);
    let bounds = bounds(&layouts);

    // Columns are as wide and rows as high as what they hold.
    let mut widths = vec![0.0_f64; columns];
    let mut heights = vec![0.0_f64; graphs.len().div_ceil(columns)];
    for (i, area) in bounds.iter().enumerate() {
        let (column, row) = (i % columns, i / columns);
        widths[column] = widths[column].max(scale * area.width()).max(width(&captions[i], style.size, true));
        heights[row] = heights[row].max(scale * area.height() + caption_height);
    }
    let graphs_width = widths.iter().sum::<f64>() + GAP * (columns - 1) as f64;
    let mut sheet = Sheet::new((graphs_width + 2.0 * MARGIN).max(LEAST_WIDTH), title, what);
    sheet.legend("Gate", &gates(&all));
    sheet.legend("Design", &designs(&all));
    let left = (sheet.width - graphs_width) / 2.0;
    for (row, height) in heights.iter().enumerate() {
        sheet.top += if row == 0 { MARGIN } else { GAP };
        let mut x = left;
        for (column, width) in widths.iter().enumerate() {
            let i = row * columns + column;
            let (Some(layout), Some(caption)) = (layouts.get(i), captions.get(i)) else { break };
            let middle = x + width / 2.0;
            sheet.text(middle, sheet.top + style.size / 2.0, style, caption);
            let dx = middle - scale * bounds[i].center().x;
            let dy = sheet.top + caption_height - scale * bounds[i].y0;
            let name = all[i].name.as_deref().unwrap_or(caption);
            sheet.begin_group(&format!("translate({} {}) scale({scale})", short(dx), short(dy)), name);
            draw(&mut sheet, layout);
            sheet.end_group();
            x += width + GAP;
        }
        sheet.top += height;
    }
    sheet.height = sheet.top + MARGIN;
    sheet.finish()
}

/// The gates that the graphs use, in their usual order.
fn gates(graphs: &[&Graph]) -> Vec<(Key, String)> {
    let labels = graphs.iter().flat_map(|graph| (0..graph.len()).map(|target| graph.label_gate(target)));
    let transfers = graphs.iter().flat_map(|graph| graph.active_transfers().map(|(_, _, transfer)| transfer.gate));
    let used: Vec<Gate> = labels.chain(transfers).collect();
    let shown = Gate::ALL.into_iter().filter(|gate| !gate.is_cut() && used.contains(gate));
    shown.map(|gate| (Key::Arrow(Stroke::new(palette::gate(gate), EDGE_WIDTH)), gate.name().to_owned())).collect()
}

/// The directions of designs that the graphs use.
fn designs(graphs: &[&Graph]) -> Vec<(Key, String)> {
    let transfers = graphs.iter().flat_map(|graph| graph.active_transfers());
    let used: Vec<Option<Direction>> = transfers.map(|(_, _, transfer)| transfer.design.direction()).collect();
    let shown = [("closer", Some(Direction::Closer)), ("apart", Some(Direction::Apart)), ("mixed", None)];
    let shown = shown.into_iter().filter(|(_, direction)| used.contains(direction));
    shown.map(|(name, direction)| (Key::Arrow(edge(INK, direction)), name.to_owned())).collect()
}

/// The line of a design whose terms have this direction; `None`: some have the one, some the other.
fn edge(color: &'static str, direction: Option<Direction>) -> Stroke {
    Stroke::new(color, EDGE_WIDTH).with(match direction {
        Some(Direction::Closer) => Pattern::Solid,
        Some(Direction::Apart) => Pattern::Dashed,
        None => Pattern::DashDotted,
    })
}

/// Layouts in which graphs of equally many nodes have equally large circles.
fn layouts(graphs: &[&Graph]) -> Vec<Layout> {
    let mut layouts: Vec<Layout> = graphs.iter().map(|graph| arranged(graph)).collect();
    for i in 0..layouts.len() {
        let alike = layouts.iter().filter(|layout| layout.nodes.len() == layouts[i].nodes.len());
        let largest = alike.map(|layout| layout.radius).fold(0.0, f64::max);
        if layouts[i].radius < largest {
            layouts[i] = on_circle(graphs[i], largest);
        }
    }
    layouts
}

/// The box around each, the same for graphs of equally many nodes, so that their nodes are in the same places.
fn bounds(layouts: &[Layout]) -> Vec<Rect> {
    let common = |m: usize| {
        let alike = layouts.iter().filter(|layout| layout.nodes.len() == m);
        alike.map(Layout::bounds).reduce(|all, bounds| all.union(bounds)).unwrap_or_default()
    };
    // Lines have a width.
    layouts.iter().map(|layout| common(layout.nodes.len()).inflate(2.0, 2.0)).collect()
}

/// Everything that belongs to one graph. Arrow heads come after all lines that may cross them, texts last.
fn draw(sheet: &mut Sheet, layout: &Layout) {
    for mean in &layout.means {
        sheet.begin_group("", "the ensemble averages all nodes");
        line(sheet, mean, Stroke::new(MEAN, 1.0));
        head(sheet, mean, Stroke::new(MEAN, 1.0));
        sheet.end_group();
    }
    let name = |source, target, what: &str| format!("{}: {what}", edge_name(source, target));
    let transfers = layout.transfers.iter().map(|transfer| {
        let (design, gate) = (transfer.transfer.design, transfer.transfer.gate);
        let resize = if transfer.transfer.resize { ", resize" } else { "" };
        let tip = name(Some(transfer.source), transfer.target, &format!("{design}, {gate}{resize}"));
        (transfer, edge(palette::gate(gate), design.direction()), tip)
    });
    let transfers: Vec<_> = transfers.collect();
    for (transfer, stroke, tip) in &transfers {
        sheet.begin_group("", tip);
        // Sets the line apart from those that it crosses.
        sheet.path(&quadratic(&transfer.curve.subsegment(0.12..0.88)), Stroke::new(PAPER, 5.0));
        line(sheet, &transfer.curve, *stroke);
        sheet.end_group();
    }
    for (transfer, stroke, _) in &transfers {
        head(sheet, &transfer.curve, *stroke);
    }
    let centered = |size, color| Type::new(size, color).anchored(Anchor::Middle);
    for label in &layout.labels {
        let stroke = Stroke::new(palette::gate(label.gate), EDGE_WIDTH);
        sheet.begin_group("", &name(None, label.target, label.gate.name()));
        line(sheet, &label.curve, stroke);
        head(sheet, &label.curve, stroke);
        let place = svg::attributes(label.area);
        sheet.element(&format!("rect {place} rx=\"3\" fill=\"{PANEL}\" stroke=\"{AXIS}\""), "");
        let Point { x, y } = label.area.center();
        sheet.text(x, y, centered(EDGE_FONT, INK), "Label");
        sheet.end_group();
    }
    ellipse(sheet, &layout.ensemble, ENSEMBLE_NODE, Stroke::new(ENSEMBLE, 1.0));
    let Point { x, y } = layout.ensemble.center();
    sheet.text(x, y, centered(13.0, INK).bold(), "Ensemble");
    for (i, shape) in layout.nodes.iter().enumerate() {
        node(sheet, i, shape);
    }
    for (transfer, stroke, tip) in &transfers {
        let Point { x, y } = transfer.text.center;
        let angle = transfer.text.along.atan2().to_degrees();
        sheet.begin_group(&format!("translate({} {}) rotate({})", short(x), short(y), short(angle)), tip);
        // The text stands in a gap of its line.
        let gap = Rect::from_center_size(Point::ORIGIN, (2.0 * transfer.text.half).to_size());
        sheet.rectangle(gap, PAPER, 1.0, "");
        let lines = transfer.transfer.design.labels();
        let mut y = -0.5 * EDGE_LINE * (lines.len() - 1) as f64;
        for text in &lines {
            sheet.text(0.0, y, centered(EDGE_FONT, stroke.color), text);
            y += EDGE_LINE;
        }
        sheet.end_group();
    }
}

/// The line of an edge, which ends inside the head, so that its blunt end does not show; a hollow head begins earlier.
fn line(sheet: &mut Sheet, curve: &QuadBez, stroke: Stroke) {
    let inside = if stroke.has_hollow_head() { 0.95 } else { 0.6 };
    sheet.path(&quadratic(&curve.subsegment(0.0..before_end(curve, inside * stroke.head()))), stroke);
}

fn head(sheet: &mut Sheet, curve: &QuadBez, stroke: Stroke) {
    let back = curve.eval(before_end(curve, stroke.head()));
    sheet.arrow_head(back.into(), curve.p2.into(), stroke);
}

fn quadratic(curve: &QuadBez) -> String {
    let [from, control, to] = [curve.p0, curve.p1, curve.p2].map(|place| point(place.into()));
    format!("M{from}Q{control} {to}")
}

fn ellipse(sheet: &mut Sheet, area: &Rect, fill: &str, stroke: Stroke) {
    let Point { x, y } = area.center();
    let [x, y, half_x, half_y] = [x, y, area.width() / 2.0, area.height() / 2.0].map(short);
    let stroke = stroke.attributes();
    let ellipse = format!("ellipse cx=\"{x}\" cy=\"{y}\" rx=\"{half_x}\" ry=\"{half_y}\" fill=\"{fill}\" {stroke}");
    sheet.element(&ellipse, "");
}

fn node(sheet: &mut Sheet, index: usize, shape: &NodeShape) {
    sheet.begin_group("", &format!("node {}: {}", index + 1, shape.full));
    let frozen = shape.remark == Some("frozen");
    ellipse(sheet, &shape.area, NODE, Stroke::new(AXIS, if frozen { 2.5 } else { 1.0 }));
    let text = |size, color| Type::new(size, color).anchored(Anchor::Middle);
    let Point { x, y } = shape.area.center();
    let lines = shape.name.len() + usize::from(shape.remark.is_some());
    let mut y = y - 7.5 * lines as f64;
    sheet.text(x, y, text(NUMBER_FONT, INK).bold(), &(index + 1).to_string());
    y += 17.0;
    for part in &shape.name {
        sheet.text(x, y, text(NODE_FONT, INK), part);
        y += 13.5;
    }
    sheet.text(x, y, text(NODE_FONT - 0.5, SOFT_INK), shape.remark.unwrap_or_default());
    sheet.end_group();
}

#[cfg(test)]
mod tests {
    use ktg_graph::presets;

    use super::*;

    #[test]
    fn equally_many_nodes_are_on_equal_circles() {
        let (dense, sparse) = (presets::dml(6, "abn-resnet-18"), presets::independent(6, "abn-resnet-18"));
        let layouts = layouts(&[&dense, &sparse]);
        assert!(arranged(&sparse).radius < arranged(&dense).radius);
        assert_eq!(layouts[0].radius, layouts[1].radius);
    }
}
