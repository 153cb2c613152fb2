//! Draws every chart from made-up numbers, and graphs, to look at: `cargo run -p ktg-figures --example gallery -- FOLDER`.
//!
//! Nothing in these pictures was measured. Each chart is written as SVG and as PNG, and all of them once more into
//! `gallery.html`, which follows the browser's light or dark mode.

use std::error::Error;
use std::path::PathBuf;

use ktg_figures::chart::*;
use ktg_figures::stats::ReliabilityBin;
use ktg_figures::{draw, palette, png};
use ktg_graph::{Design, Gate, Graph, Node, Transfer};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("which folder?")?);
    std::fs::create_dir_all(&folder)?;
    let all = Design::all();
    // Those with most terms first.
    let mut mixed: Vec<Design> = all.iter().copied().filter(|design| design.direction().is_none()).collect();
    mixed.sort_by_key(|design| std::cmp::Reverse(design.terms().count()));
    let charts = [
        ("curves", curves(&made_up_curves(5, true))),
        ("curves-plain", curves(&made_up_curves(12, false))),
        ("curves-none", curves(&made_up_curves(0, false))),
        ("matrix", matrix(&made_up_matrix(5, "disagreement in %", 1))),
        ("matrix-small", matrix(&made_up_matrix(2, "cosine of probabilities", 3))),
        ("matrix-large", matrix(&made_up_matrix(10, "disagreement in %", 0))),
        ("reliability", reliability(&made_up_reliability())),
        ("history", history(&made_up_history(3000))),
        ("history-short", history(&made_up_history(60))),
        ("rungs", rungs(&made_up_rungs(3000))),
        ("rungs-short", rungs(&made_up_rungs(20))),
        ("bars", bars(&made_up_bars())),
        ("forest", forest(&made_up_forest())),
        ("by-nodes", by_nodes(&made_up_methods())),
        ("pictures", pictures(&made_up_pictures()?)?),
        ("graph-mixed", draw::svg(&made_up_graph(3, &mixed))),
        ("graph-thesis", draw::svg(&made_up_graph(3, &Design::THESIS))),
        ("graph-large", draw::svg(&made_up_graph(5, &mixed))),
        ("graphs", draw::sheet(&[(&made_up_graph(2, &mixed), "two"), (&made_up_graph(4, &all), "four")], 2)),
    ];
    let mut page = format!(
        "<!doctype html><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Made-up charts</title><style>{}body{{background:{};margin:16px}}svg{{display:block;margin:16px 0}}</style>",
        palette::css(),
        palette::variable(palette::PAPER)
    );
    for (name, svg) in charts {
        std::fs::write(folder.join(format!("{name}.svg")), &svg)?;
        std::fs::write(folder.join(format!("{name}.png")), png::png(&svg, 1.5)?)?;
        page += &palette::themed(&svg, &format!("{name}-"));
    }
    std::fs::write(folder.join("gallery.html"), page)?;
    Ok(())
}

/// A graph with almost all edges, on which gates and designs take turns.
fn made_up_graph(nodes: usize, designs: &[Design]) -> Graph {
    let mut graph = Graph::new(vec![Node::new("abn-resnet-18"); nodes]);
    let mut gates = [Gate::Through, Gate::Falling, Gate::Linear, Gate::Correct, Gate::Cutoff].into_iter().cycle();
    let mut designs = designs.iter().copied().cycle();
    for target in 0..nodes {
        for source in (0..nodes).filter(|source| *source != target) {
            let transfer = designs.next().zip(gates.next()).map(|(design, gate)| Transfer::new(design, gate));
            graph.set_transfer(source, target, transfer);
        }
        graph.set_label_gate(target, [Gate::Through, Gate::Falling, Gate::Linear][target % 3]);
    }
    graph
}

/// Reproducible noise from -1 to 1.
fn noise(seed: usize) -> f64 {
    let mixed = (seed as u64).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

fn made_up_curves(nodes: usize, training: bool) -> Curves {
    let accuracy = |epoch: usize, best: f64, speed: f64, seed: usize| {
        let drops = [0.0, 0.10, 0.13][usize::from(epoch > 60) + usize::from(epoch > 80)];
        let early = 1.0 - (-(epoch as f64) * speed / 18.0).exp();
        best * (0.82 * early + drops) + noise(seed * 1000 + epoch) * if epoch > 60 { 0.4 } else { 2.0 }
    };
    let line = |name: String, role, best: f64, dashed, seed: usize| Curve {
        name,
        points: (1..=100).map(|epoch| (epoch as f64, accuracy(epoch, best, 0.8 + 0.05 * seed as f64, seed))).collect(),
        role,
        dashed,
    };
    let mut lines: Vec<Curve> = Vec::new();
    for i in 0..nodes {
        let best = 70.0 + 0.8 * i as f64 % 4.0;
        lines.push(line(format!("{} resnet18-abn", i + 1), Role::Series(i), best, false, i));
        if training {
            lines.push(line(format!("{} resnet18-abn", i + 1), Role::Series(i), best + 18.0, true, i + 40));
        }
    }
    if nodes > 0 {
        lines.push(line("Ensemble".into(), Role::Ensemble, 76.5, false, 77));
    }
    Curves {
        title: "Accuracy over the training".into(),
        y_title: "accuracy in %".into(),
        lines,
        kinds: ["held-out images".into(), "training images".into()],
    }
}

fn made_up_matrix(nodes: usize, measure: &str, decimals: usize) -> Matrix {
    let top = if decimals == 3 { 1.0 } else { 40.0 };
    let value = |row: usize, column: usize| {
        let (low, high) = (row.min(column), row.max(column));
        (row != column && (low, high) != (1, 3)).then(|| top * (0.5 + 0.45 * noise(17 * low + high)))
    };
    Matrix {
        title: "How often two nodes disagree".into(),
        names: (1..=nodes).map(|i| if nodes == 2 { format!("{i} resnet32") } else { i.to_string() }).collect(),
        values: (0..nodes).map(|row| (0..nodes).map(|column| value(row, column)).collect()).collect(),
        range: (0.0, top),
        decimals,
        measure: measure.into(),
        ..Matrix::default()
    }
}

fn made_up_reliability() -> Reliability {
    let bin = |i: usize| {
        let from = i as f64 / 10.0;
        let confidence = from + 0.05 + 0.01 * noise(i);
        let accuracy = (confidence - 0.09 * (confidence * 3.0).sin() + 0.03 * noise(i + 5)).clamp(0.0, 1.0);
        ReliabilityBin {
            low: from,
            high: from + 0.1,
            n: 20 + i.pow(3) * 6,
            confidence: Some(confidence),
            accuracy: Some(accuracy),
        }
    };
    Reliability { title: "Ensemble of 3 nodes".into(), bins: (0..10).map(bin).collect(), ece: Some(0.043) }
}

/// Epochs and last value of a trial that is stopped at some rung.
fn fate(i: usize) -> (u64, f64) {
    let quality = noise(3 * i + 1);
    let rung = (0..7).find(|rung| noise(11 * i + rung + 400) > 0.9 * quality - 0.1).unwrap_or(7);
    let epochs = 1u64 << rung;
    (epochs, 12.0 + 55.0 * (1.0 - (-(epochs as f64) / 24.0).exp()) + 6.0 * quality)
}

fn made_up_history(trials: usize) -> History {
    let trial = |i: usize| {
        let (epochs, value) = fate(i);
        let state = match i {
            _ if i % 97 == 50 => State::Failed,
            _ if i + 3 > trials => State::Running,
            _ if epochs >= 128 => State::Complete,
            _ => State::Pruned,
        };
        Trial { number: i as u64, value: Some(value), epochs, state }
    };
    History {
        title: format!("Search of graphs with 3 nodes, {trials} trials"),
        y_title: "ensemble accuracy in %".into(),
        trials: (0..trials).map(trial).collect(),
    }
}

fn made_up_rungs(trials: usize) -> Rungs {
    let rung = |rung: u32| {
        let epochs = 1u64 << rung;
        let mut made = Rung { epochs, ..Rung::default() };
        for (i, (reached, _)) in (0..trials).map(|i| (i, fate(i))).filter(|(_, (reached, _))| *reached >= epochs) {
            let value = 12.0 + 55.0 * (1.0 - (-(epochs as f64) / 24.0).exp()) + 7.0 * noise(3 * i + 1) + noise(i);
            if reached > epochs || rung == 7 { made.kept.push(value) } else { made.stopped.push(value) }
        }
        made
    };
    Rungs {
        title: "What successive halving stopped".into(),
        y_title: "ensemble accuracy in %".into(),
        rungs: (0..8).map(rung).collect(),
    }
}

fn made_up_bars() -> Bars {
    let bar = |value: f64, note: &str| Some(Bar { value, note: note.into() });
    let row = |name: &str, design: f64, gate: f64| BarRow {
        name: name.into(),
        bars: vec![bar(design, &format!("{design:.2}")), bar(gate, &format!("{gate:.2} ★"))],
    };
    Bars {
        title: "Which choices matter".into(),
        x_title: "share of the variance in %".into(),
        kinds: vec!["design".into(), "gate".into()],
        rows: vec![
            row("1 → 2", 18.2, 31.4),
            row("2 → 1", 4.1, 12.9),
            row("1 → 3", 2.2, 6.6),
            BarRow { name: "label → 1".into(), bars: vec![None, bar(9.7, "9.70 ★")] },
            row("3 → 2", 0.4, 0.9),
        ],
    }
}

fn made_up_forest() -> Forest {
    let row = |name: &str, estimate: f64, half: f64| Effect {
        name: name.into(),
        estimate,
        interval: Some((estimate - half, estimate + half)),
        text: format!("{estimate:+.2} ± {half:.2}").replace('-', "−"),
    };
    Forest {
        title: "What each edge contributes to the accuracy of the ensemble".into(),
        x_title: "accuracy with the edge minus without, in points".into(),
        sides: ["hurts".into(), "helps".into()],
        heading: "effect, 95 %".into(),
        rows: vec![
            row("1 → 2 both apart, correct", 1.32, 0.41),
            row("2 → 1 probability closer, linear", 0.58, 0.37),
            row("3 → 1 attention apart, through", 0.11, 0.35),
            row("1 → 3 attention closer, linear", -0.22, 0.44),
            row("2 → 3 probability apart, through", -0.81, 0.39),
            Effect {
                name: "3 → 2 (not measured)".into(), estimate: f64::NAN, text: "–".into(), ..Effect::default()
            },
        ],
    }
}

fn made_up_methods() -> ByNodes {
    let method = |name: &str, role, reference, means: &[f64]| Method {
        name: name.into(),
        role,
        reference,
        levels: (2..)
            .zip(means)
            .map(|(nodes, mean)| Level {
                nodes,
                mean: *mean,
                deviation: (!reference).then_some(0.35 + 0.1 * noise(nodes as usize)),
                runs: if reference { 0 } else { 3 },
            })
            .collect(),
    };
    ByNodes {
        title: "Ensembles of 2 to 5 nodes".into(),
        y_title: "ensemble accuracy in %".into(),
        methods: vec![
            method("Found graph", Role::Ensemble, false, &[72.1, 73.6, 74.3, 74.1]),
            method("Mutual learning", Role::Series(0), false, &[71.2, 72.0, 72.6, 72.5]),
            method("Independent", Role::Series(1), false, &[70.1, 71.2, 72.0, 72.4]),
            method("Found graph, published", Role::Ensemble, true, &[72.9, 73.2, 74.4, 74.0]),
            method("Mutual learning, published", Role::Series(0), true, &[71.5, 72.3, 72.5, 72.9]),
        ],
    }
}

fn made_up_pictures() -> Result<Pictures, ktg_figures::Error> {
    let blob = |seed: usize, fill: &str| {
        let at = |i: usize| 16.0 + 9.0 * noise(seed * 7 + i);
        let svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"32\" height=\"32\"><rect width=\"32\" height=\"32\" \
             fill=\"#203050\"/><circle cx=\"{}\" cy=\"{}\" r=\"9\" fill=\"{fill}\"/></svg>",
            at(0),
            at(1)
        );
        png::png(&svg, 1.0)
    };
    let names = ["input", "1 resnet18", "2 resnet18", "3 resnet18", "Ensemble"];
    let mut rows = Vec::new();
    for row in 0..3 {
        let mut cells = Vec::new();
        for column in 0..names.len() {
            let (caption, right) = match column {
                3 if row == 1 => ("Siberian husky 41 %".into(), false),
                _ => (format!("Chow {} %", 60 + 7 * column), true),
            };
            let png = blob(row * 10 + column, if column == 0 { "#d0a060" } else { "#ff5020" })?;
            cells.push(Some(Picture { png, caption, right }));
        }
        rows.push(PictureRow { name: format!("n02112137_{row}.jpg Chow"), cells });
    }
    rows[2].cells[2] = None;
    Ok(Pictures { title: "Where the nodes look".into(), columns: names.map(str::to_owned).to_vec(), rows })
}
