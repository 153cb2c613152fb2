//! Several graphs in one picture.

use super::curve::{Area, Point};
use super::layout::Layout;
use super::legend::Legend;
use super::shapes::{group, text};
use super::svg::{LONGEST_TITLE, MARGIN, TITLE_FONT, TITLE_HEIGHT, elements, start, title_width};
use super::{lettering, palette};
use ktg_graph::Graph;

/// Between neighbouring graphs.
const GAP: f64 = 36.0;
/// Captions and the legend are larger by this, as a sheet is large and is seen from further away.
const SCALE: f64 = 1.2;

/// Several graphs side by side, each below its caption, with one legend for all.
///
/// The graphs are placed row by row, `columns` to a row, all at the same scale; those with equally many nodes are also
/// equally large, so that they can be compared node by node. A caption may be empty.
pub fn sheet(graphs: &[(&Graph, &str)], columns: usize) -> String {
    let columns = columns.clamp(1, graphs.len().max(1));
    let captions: Vec<String> =
        graphs.iter().map(|(_, caption)| lettering::shortened(caption, LONGEST_TITLE)).collect();
    let caption_height = if captions.iter().all(String::is_empty) { 0.0 } else { SCALE * TITLE_HEIGHT };
    let all: Vec<&Graph> = graphs.iter().map(|(graph, _)| *graph).collect();
    let layouts = layouts(&all);
    let bounds = bounds(&layouts);

    // Columns are as wide and rows as high as what they hold.
    let mut widths = vec![0.0_f64; columns];
    let mut heights = vec![0.0_f64; graphs.len().div_ceil(columns)];
    for (i, area) in bounds.iter().enumerate() {
        let (column, row) = (i % columns, i / columns);
        widths[column] = widths[column].max(2.0 * area.half.x + 4.0).max(SCALE * title_width(&captions[i]));
        heights[row] = heights[row].max(2.0 * area.half.y + 4.0 + caption_height);
    }
    let gaps = |cells: &[f64]| GAP * cells.len().saturating_sub(1) as f64;
    let graphs_width = widths.iter().sum::<f64>() + gaps(&widths);
    let graphs_height = heights.iter().sum::<f64>() + gaps(&heights);
    let legend = Legend::of(&all, (graphs_width / SCALE).max(560.0));
    let width = graphs_width.max(SCALE * legend.width()) + 2.0 * MARGIN;
    let height = graphs_height + SCALE * legend.height() + 3.0 * MARGIN;

    let mut svg = start(Point { x: 0.0, y: 0.0 }, width, height, "Knowledge transfer graphs");
    let left = (width - graphs_width) / 2.0;
    let mut corner = Point { x: left, y: MARGIN };
    for (i, layout) in layouts.iter().enumerate() {
        let (column, row) = (i % columns, i / columns);
        if i > 0 && column == 0 {
            corner = Point { x: left, y: corner.y + heights[row - 1] + GAP };
        }
        let middle = corner.x + widths[column] / 2.0;
        let mut cell = String::new();
        if !captions[i].is_empty() {
            let at = Point { x: middle, y: corner.y + SCALE * TITLE_FONT / 2.0 };
            cell += &text(at, SCALE * TITLE_FONT, palette::TEXT, " font-weight=\"bold\"", &captions[i]);
        }
        let half = bounds[i].half + Point { x: 2.0, y: 2.0 };
        let at = Point { x: middle - half.x, y: corner.y + caption_height };
        cell += &part(layout, &Area { half, ..bounds[i] }, at);
        svg += &group(all[i].name.as_deref().unwrap_or(graphs[i].1), &cell);
        corner.x += widths[column] + GAP;
    }
    let (x, y) = (width / 2.0, graphs_height + 2.0 * MARGIN);
    let legend = legend.svg(Point { x: 0.0, y: 0.0 });
    svg + &format!("<g transform=\"translate({x:.1} {y:.1}) scale({SCALE})\">\n{legend}</g>\n</svg>\n")
}

/// Layouts in which graphs of equally many nodes have equally large circles.
fn layouts(graphs: &[&Graph]) -> Vec<Layout> {
    let alone: Vec<Layout> = graphs.iter().map(|graph| Layout::of(graph)).collect();
    let largest = |m: usize| alone.iter().filter(|l| l.nodes.len() == m).map(|l| l.radius).fold(0.0, f64::max);
    let radii: Vec<f64> = alone.iter().map(|layout| largest(layout.nodes.len())).collect();
    let fitted = alone.into_iter().zip(graphs).zip(radii).map(|((layout, graph), radius)| {
        if layout.radius == radius {
            return layout;
        }
        Layout::on_circle(graph, radius)
    });
    fitted.collect()
}

/// The box around each, the same for graphs of equally many nodes, so that their nodes are in the same places.
fn bounds(layouts: &[Layout]) -> Vec<Area> {
    let corners = |layout: &Layout| {
        let Area { centre, half } = layout.bounds();
        [centre - half, centre + half]
    };
    let common = |m: usize| Area::around(layouts.iter().filter(|l| l.nodes.len() == m).flat_map(corners));
    layouts.iter().map(|layout| common(layout.nodes.len())).collect()
}

/// A graph in a place of its own, at the scale of the whole.
fn part(layout: &Layout, bounds: &Area, corner: Point) -> String {
    let seen = bounds.centre - bounds.half;
    let (width, height) = (2.0 * bounds.half.x, 2.0 * bounds.half.y);
    format!(
        "<svg x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
         viewBox=\"{:.1} {:.1} {width:.1} {height:.1}\">\n{}</svg>\n",
        corner.x,
        corner.y,
        seen.x,
        seen.y,
        elements(layout)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use ktg_graph::presets;

    #[test]
    fn shows_every_graph_with_its_caption() {
        let (two, three) = (presets::dml(2, "a"), presets::independent(3, "b"));
        let svg = sheet(&[(&two, "1. trial 42, 78.30 %"), (&three, "2. <trial>"), (&two, "")], 2);
        assert_eq!(svg.matches("<svg").count(), 4);
        assert_eq!(svg.matches("</svg>").count(), 4);
        assert_eq!(svg.matches(">Ensemble<").count(), 3);
        assert_eq!(svg.matches(">Prob closer<").count(), 4);
        assert!(svg.contains(">1. trial 42, 78.30 %</text>") && svg.contains(">2. &lt;trial&gt;</text>"));
        assert_eq!(svg.matches(">through</text>").count(), 1, "one legend");
    }

    #[test]
    fn a_sheet_may_be_empty_or_narrow() {
        assert_eq!(sheet(&[], 0).matches("<svg").count(), 1);
        let graph = presets::diverse(2, "a").expect("exists");
        assert_eq!(sheet(&[(&graph, "x")], 0), sheet(&[(&graph, "x")], 7));
    }

    #[test]
    fn equally_many_nodes_are_on_equal_circles() {
        let (dense, sparse) = (presets::dml(6, "abn-resnet-18"), presets::independent(6, "abn-resnet-18"));
        let layouts = layouts(&[&dense, &sparse]);
        assert!(Layout::of(&sparse).radius < Layout::of(&dense).radius);
        assert_eq!(layouts[0].radius, layouts[1].radius);
    }
}
