//! Charts: well-formed, nothing outside, any number of any values.

use ktg_figures::chart::*;
use ktg_figures::palette;
use ktg_figures::stats::ReliabilityBin;
use proptest::prelude::*;
use resvg::usvg::roxmltree::{Document, Node};

fn curve(name: &str, role: Role, points: Vec<(f64, f64)>) -> Curve {
    Curve { name: name.into(), points, role, dashed: false }
}

/// All charts of the values but that of pictures, in every place that takes one.
fn every_chart(values: &[f64]) -> Vec<(&'static str, String)> {
    let name = "ein <langer> Name & \"mehr\" ".repeat(4);
    let optional = |i: usize| values.get(i).copied();
    let pairs: Vec<(f64, f64)> = values.iter().enumerate().map(|(i, value)| (i as f64, *value)).collect();
    let turned: Vec<(f64, f64)> = values.iter().enumerate().map(|(i, value)| (*value, i as f64)).collect();
    let lines = vec![
        curve("1", Role::Series(0), pairs.clone()),
        curve(&name, Role::Ensemble, turned),
        Curve { dashed: true, ..curve("1", Role::Series(1), pairs) },
    ];
    let side = values.len().min(7);
    let rows = |row: usize| (0..side).map(|column| optional(row * side + column)).collect();
    let range = (optional(0).unwrap_or(0.0), optional(1).unwrap_or(1.0));
    let bin = |(i, value): (usize, &f64)| ReliabilityBin {
        low: i as f64 / 10.0,
        high: i as f64 / 10.0 + 0.1,
        n: i,
        confidence: Some(*value),
        accuracy: Some(*value),
    };
    let states = [State::Complete, State::Pruned, State::Running, State::Failed];
    let trial = |(i, value): (usize, &f64)| Trial {
        number: i as u64,
        value: (i % 5 > 0).then_some(*value),
        epochs: if i == 3 { u64::MAX } else { i as u64 },
        state: states[i % 4],
    };
    let interval = |value: f64| Some((value - 1.0, value * 2.0));
    let bar = |value: &f64| Some(Bar { value: *value, note: name.clone() });
    let effect =
        |value: &f64| Effect { name: name.clone(), estimate: *value, interval: interval(*value), text: name.clone() };
    let level = |(i, value): (usize, &f64)| Level { nodes: i as u32, mean: *value, deviation: Some(*value), runs: i };
    let method = |reference| Method {
        name: name.clone(),
        role: Role::Series(20),
        reference,
        levels: values.iter().enumerate().map(level).collect(),
    };
    let title = name.clone();
    let drawn = [
        ("curves", curves(&Curves { title: title.clone(), y_title: title.clone(), lines, ..Curves::default() })),
        (
            "matrix",
            matrix(&Matrix {
                title: title.clone(),
                names: (0..side).map(|i| name[i..].to_owned()).collect(),
                values: (0..side).map(rows).collect(),
                range,
                decimals: 2,
                measure: name.clone(),
                wide: side % 2 == 1,
                hides_zeros: side.is_multiple_of(2),
            }),
        ),
        (
            "reliability",
            reliability(&Reliability {
                title: title.clone(),
                bins: values.iter().enumerate().map(bin).collect(),
                ece: optional(0),
            }),
        ),
        (
            "history",
            history(&History {
                title: title.clone(),
                y_title: name.clone(),
                trials: values.iter().enumerate().map(trial).collect(),
            }),
        ),
        (
            "rungs",
            rungs(&Rungs {
                title: title.clone(),
                y_title: name.clone(),
                rungs: (0..values.len().min(9))
                    .map(|i| Rung { epochs: 1 << i, kept: values[i..].to_vec(), stopped: values[..i].to_vec() })
                    .collect(),
            }),
        ),
        (
            "bars",
            bars(&Bars {
                title: title.clone(),
                x_title: name.clone(),
                kinds: vec![name.clone(), "2".into()],
                rows: values.iter().map(|value| BarRow { name: name.clone(), bars: vec![None, bar(value)] }).collect(),
            }),
        ),
        (
            "forest",
            forest(&Forest {
                title: title.clone(),
                x_title: name.clone(),
                sides: [name.clone(), name.clone()],
                heading: name.clone(),
                rows: values.iter().map(effect).collect(),
            }),
        ),
        ("by_nodes", by_nodes(&ByNodes { title, y_title: name.clone(), methods: vec![method(false), method(true)] })),
    ];
    drawn.into_iter().collect()
}

fn numbers(text: &str) -> impl Iterator<Item = f64> {
    text.split(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-')).filter_map(|number| number.parse().ok())
}

fn attribute(node: Node, name: &str) -> f64 {
    node.attribute(name).unwrap().parse().unwrap()
}

/// Well-formed, described, without anything that is no number, and nothing lies outside, texts included.
fn check(kind: &str, svg: &str) {
    let document = Document::parse(svg).unwrap_or_else(|error| panic!("{kind}: {error}\n{svg}"));
    let root = document.root_element();
    let (width, height) = (attribute(root, "width"), attribute(root, "height"));
    assert_eq!(root.attribute("viewBox").unwrap(), format!("0 0 {width} {height}"), "{kind}");
    assert!((300.0..=700.0).contains(&width) && height > 40.0, "{kind}: {width} x {height}");
    let title = root.children().find(|child| child.has_tag_name("title")).and_then(|title| title.text());
    assert!(title.is_some_and(|title| !title.trim().is_empty()), "{kind}");
    for node in document.descendants() {
        for attribute in node.attributes().filter(|attribute| attribute.name() != "font-family") {
            let value = attribute.value();
            assert!(!value.contains("NaN") && !value.contains("inf"), "{kind}: {}=\"{value}\"", attribute.name());
        }
    }
    if svg.contains("<image") {
        // The box of an image is that of its pixels before they are fitted in.
        return;
    }
    let tree = resvg::usvg::Tree::from_str(svg, &ktg_figures::png::options(svg).unwrap()).unwrap();
    let drawn = tree.root().abs_stroke_bounding_box();
    let inside = drawn.left() >= -1.0
        && drawn.top() >= -1.0
        && f64::from(drawn.right()) <= width + 1.0
        && f64::from(drawn.bottom()) <= height + 1.0;
    assert!(inside, "{kind}: {drawn:?} on {width} x {height}\n{svg}");
}

/// Left, top, right and bottom of each plot, by its grid and its horizontal axis, which is drawn after the grid.
fn plots(document: &Document) -> Vec<[f64; 4]> {
    let mut plots = Vec::new();
    let mut top = f64::INFINITY;
    for node in document.descendants().filter(|node| node.has_tag_name("path")) {
        let ends: Vec<f64> = numbers(node.attribute("d").unwrap()).collect();
        let stroke = node.attribute("stroke").unwrap();
        let [x1, y1, x2, y2] = ends[..] else { continue };
        if stroke == palette::GRID {
            top = top.min(y1).min(y2);
        } else if stroke == palette::AXIS && y1 == y2 && x2 - x1 > 60.0 {
            plots.push([x1, top, x2, y1]);
            top = f64::INFINITY;
        }
    }
    plots
}

/// Every circle, dot and line of a series lies in a plot.
fn check_inside_plot(kind: &str, svg: &str) -> usize {
    let document = Document::parse(svg).unwrap();
    let plots = plots(&document);
    assert!(!plots.is_empty(), "{kind}");
    let inside = |x: f64, y: f64| {
        let within = |[left, top, right, bottom]: &[f64; 4]| {
            (left - 0.2..=right + 0.2).contains(&x) && (top - 0.2..=bottom + 0.2).contains(&y)
        };
        plots.iter().any(within)
    };
    let first = plots.iter().map(|plot| plot[1]).fold(f64::INFINITY, f64::min);
    let mut marks = 0;
    for node in document.descendants() {
        if node.has_tag_name("circle") && attribute(node, "cy") > first - 10.0 {
            assert!(inside(attribute(node, "cx"), attribute(node, "cy")), "{kind}: {node:?} not in {plots:?}");
            marks += 1;
        }
        let Some(path) = node.attribute("d").filter(|path| !path.contains('l')) else { continue };
        let stroke = node.attribute("stroke").unwrap();
        let series = palette::SERIES.contains(&stroke) || [palette::COMPLETE, palette::PRUNED].contains(&stroke);
        let points: Vec<&str> = path.split(['M', 'L']).filter(|point| !point.is_empty()).collect();
        for point in points.iter().filter(|_| series) {
            let mut numbers = numbers(point);
            let (x, y) = (numbers.next().unwrap(), numbers.next().unwrap());
            // Keys of the legend lie above.
            if y > first - 10.0 {
                assert!(inside(x, y), "{kind}: {x}, {y} not in {plots:?}");
                marks += 1;
            }
        }
    }
    marks
}

#[test]
fn any_number_of_values() {
    for count in [0, 1, 2, 3, 10, 49, 700] {
        let values: Vec<f64> = (0..count).map(|i| 71.3 + (i as f64 * 0.7).sin()).collect();
        for (kind, svg) in every_chart(&values) {
            check(kind, &svg);
        }
    }
}

#[test]
fn values_that_cannot_be_drawn_are_left_out() {
    let bad = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN];
    for (kind, svg) in every_chart(&bad) {
        check(kind, &svg);
        assert!(!svg.contains("<circle") || kind == "rungs" || kind == "history", "{kind}: {svg}");
    }
    let mixed = [f64::NAN, 0.25, f64::INFINITY, 0.5, 1e300, f64::MIN_POSITIVE, -0.0, -3.0, 1e12, 0.5];
    for (kind, svg) in every_chart(&mixed) {
        check(kind, &svg);
    }
}

#[test]
fn values_lie_in_the_plot() {
    let values: Vec<f64> = (0..40).map(|i| 50.0 + 30.0 * (i as f64 * 0.7).sin()).collect();
    for (kind, svg) in every_chart(&values) {
        if ["curves", "history", "rungs", "forest", "by_nodes"].contains(&kind) {
            assert!(check_inside_plot(kind, &svg) >= 20, "{kind}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn any_values(values in prop::collection::vec(prop::num::f64::ANY, 0..12)) {
        for (kind, svg) in every_chart(&values) {
            check(kind, &svg);
        }
    }
}

#[test]
fn a_gap_parts_the_curve() {
    let points = vec![(1.0, 1.0), (2.0, 2.0), (3.0, f64::NAN), (4.0, 3.0), (5.0, 2.0), (6.0, f64::NAN), (7.0, 1.0)];
    let lines = vec![curve("1", Role::Series(0), points)];
    let svg = curves(&Curves { lines, ..Curves::default() });
    assert_eq!(svg.matches(&format!("stroke=\"{}\" stroke-width", palette::SERIES[0])).count(), 2);
    assert_eq!(svg.matches("<circle").count(), 1);
}

#[test]
fn the_ensemble_is_named_among_many_nodes() {
    let line = |i: usize| curve(&format!("node {i}"), Role::Series(i), vec![(1.0, 5.0), (2.0, 6.0)]);
    let mut lines: Vec<Curve> = (0..50).map(line).collect();
    lines.push(curve("Ensemble", Role::Ensemble, vec![(1.0, 5.0), (2.0, 6.0)]));
    let svg = curves(&Curves { lines, ..Curves::default() });
    check("curves", &svg);
    assert!(svg.contains(">Ensemble</text>"));
}

#[test]
fn the_best_line_follows_complete_trials_only() {
    let trial = |number, value, state| Trial { number, value: Some(value), epochs: 10, state };
    let trials = vec![
        trial(0, 60.0, State::Complete),
        trial(1, 99.0, State::Pruned),
        trial(2, 70.0, State::Complete),
        trial(3, 65.0, State::Complete),
    ];
    let svg = history(&History { trials, ..History::default() });
    assert!(svg.contains(">best 70.00</text>"));
    assert!(svg.contains("<title>trial 1: 99.00 after 10 epochs, pruned</title>"));
    assert!(svg.contains(">3 complete</text>") && svg.contains(">1 pruned</text>"));
}

#[test]
fn rungs_count_their_trials() {
    let rung = Rung { epochs: 2048, kept: vec![1.0, 2.0], stopped: (0..998).map(f64::from).collect() };
    let svg = rungs(&Rungs { rungs: vec![rung], ..Rungs::default() });
    for text in [">1,000</text>", ">2,048</text>", "<title>2 trials kept</title>", "<title>998 trials stopped</title>"]
    {
        assert!(svg.contains(text), "{text}");
    }
    // Who has no place on the axis of values got there all the same.
    let rung = Rung { epochs: 1, kept: vec![1.0, f64::INFINITY], stopped: vec![f64::NEG_INFINITY; 3] };
    let svg = rungs(&Rungs { rungs: vec![rung], ..Rungs::default() });
    for text in [">5</text>", "<title>2 trials kept</title>", "<title>3 trials stopped</title>"] {
        assert!(svg.contains(text), "{text}");
    }
}

#[test]
fn effects_are_colored_when_their_interval_excludes_zero() {
    let row = |estimate: f64, half: f64| Effect {
        estimate,
        interval: Some((estimate - half, estimate + half)),
        ..Effect::default()
    };
    let svg = forest(&Forest { rows: vec![row(1.0, 0.5), row(-1.0, 0.5), row(1.0, 2.0)], ..Forest::default() });
    for color in [palette::GOOD, palette::BAD, palette::UNCLEAR] {
        assert_eq!(svg.matches("<circle").count(), 3);
        assert_eq!(svg.matches(&format!("fill=\"{color}\"")).count(), 1, "{color}");
    }
}

#[test]
fn reliability_states_its_error() {
    let bin = ReliabilityBin { low: 0.5, high: 1.0, n: 7, confidence: Some(0.9), accuracy: Some(0.75) };
    let svg = reliability(&Reliability { bins: vec![bin], ece: Some(0.15), ..Reliability::default() });
    assert!(svg.contains(">ECE 15.0 %</text>"));
    assert!(svg.contains("confidence 50 to 100 %: mean 90.0 %, accuracy 75.0 %, 7 images"));
}

#[test]
fn cells_of_a_matrix() {
    let values = vec![vec![None, Some(0.25)], vec![Some(-0.5), Some(f64::NAN)]];
    let names = vec!["1".to_owned(), "2".to_owned()];
    let figure =
        Matrix { names, values, range: (-1.0, 1.0), decimals: 2, measure: "cosine".into(), ..Matrix::default() };
    let svg = matrix(&figure);
    check("matrix", &svg);
    assert!(svg.contains("<title>1, 2: 0.25</title>") && svg.contains(">−0.50</text>"));
    assert_eq!(svg.matches(">–</text>").count(), 2);
}

#[test]
fn a_wide_matrix_has_room_for_many_names_and_may_leave_zeros_out() {
    let names: Vec<String> = (0..20).map(|i| format!("class {i}")).collect();
    let values = vec![vec![Some(0.0); 20], vec![Some(37.0); 20]].into_iter().cycle().take(20).collect();
    let figure = Matrix { names, values, range: (0.0, 100.0), wide: true, hides_zeros: true, ..Matrix::default() };
    let svg = matrix(&figure);
    check("matrix", &svg);
    // The numbers are in the cells, and the zeros only where one points at them; 0 and 100 are at the scale.
    assert_eq!([">37</text>", ">0</text>"].map(|text| svg.matches(text).count()), [200, 1]);
    assert!(svg.contains("<title>class 0, class 3: 0</title>"));
    let narrow = matrix(&Matrix { wide: false, hides_zeros: false, ..figure });
    assert_eq!([">37</text>", ">0</text>"].map(|text| narrow.matches(text).count()), [0, 201], "37 has no room");
}

#[test]
fn pictures_are_embedded() {
    let square = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"8\" height=\"8\"><path d=\"M0 0H8V8H0Z\" fill=\"#ff0000\"/></svg>";
    let png = ktg_figures::png::png(square, 1.0).unwrap();
    let picture = Picture { png, caption: "Chow 81 %".into(), right: false };
    let row = PictureRow { name: "1.jpg".into(), cells: vec![Some(picture.clone()), None] };
    let figure = Pictures { title: "<maps>".into(), columns: vec!["input".into()], rows: vec![row] };
    let svg = pictures(&figure).unwrap();
    check("pictures", &svg);
    assert!(svg.contains("href=\"data:image/png;base64,iVBORw0KGgo") && svg.contains(">✗ Chow 81 %</text>"));
    check("pictures", &pictures(&Pictures::default()).unwrap());
    for columns in [1, 40] {
        let cells = vec![Some(picture.clone()); columns];
        let row = PictureRow { name: "long name ".repeat(20), cells };
        let figure = Pictures { rows: vec![row], ..figure.clone() };
        assert!(pictures(&figure).is_ok());
    }
    let broken = Picture { png: b"GIF89a".to_vec(), ..picture };
    let rows = vec![PictureRow { name: String::new(), cells: vec![Some(broken)] }];
    let error = pictures(&Pictures { rows, ..figure }).unwrap_err().to_string();
    assert_eq!(error, "cannot draw the figure \"<maps>\": the picture in row 1, column 1 is no PNG");
}
