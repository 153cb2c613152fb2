//! Writes a page with every kind of block. All its numbers are made up.
//!
//! `cargo run -p ktg-figures --example page -- page.html`

use ktg_figures::page::{Block, Figure, Page};
use ktg_figures::palette::{AXIS, ENSEMBLE, GRID, INK, PAPER, SERIES, SOFT_INK};
use ktg_figures::table::{Cell, Column, Table};
use ktg_graph::presets;

/// Method, number of nodes, mean and standard deviation of the nodes and of the ensemble.
const RESULTS: [(&str, u32, [f64; 4]); 6] = [
    ("Independent", 3, [68.11, 0.42, 71.36, 0.31]),
    ("DML", 3, [70.42, 0.38, 72.15, 0.27]),
    ("Found", 3, [70.88, 0.51, 73.47, 0.36]),
    ("Independent", 4, [68.24, 0.35, 72.01, 0.22]),
    ("DML", 4, [71.53, 0.44, 72.90, 0.41]),
    ("Found", 4, [71.40, 0.47, 74.21, 0.29]),
];

fn main() -> std::io::Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "page.html".to_owned());
    std::fs::write(&path, page().to_html())?;
    println!("{path}");
    Ok(())
}

fn page() -> Page {
    let mut page = Page::new("Knowledge transfer graphs on Stanford Dogs");
    page.subtitle = "An example page with every kind of block. All numbers on it are made up.".to_owned();
    page.footer = "Written by `cargo run -p ktg-figures --example page` from made-up numbers.".to_owned();

    page.section("Summary")
        .push(Block::text(
            "Members that learn from each other are better than members that learn alone, and an ensemble of members that \
             were pushed apart is better than one of members that became alike. The graph that the search found says \
             which member pulls which other one closer and which one it pushes apart.\n\n\
             Every number is the mean over five runs with seeds `1` to `5`, ± its standard deviation. Accuracies are \
             shares of the 8,580 test images.",
        ))
        .push(Block::warning(
            "Two of five runs of `DML` with four nodes are missing. Its numbers are means over three runs.",
        ))
        .push(bars(&RESULTS[3..]));

    page.section("Accuracy").push(results()).push(Block::text(
        "The found graph gains about 2 points over independent training with either number of nodes. The difference \
         between the found graph and `DML` is larger than two standard deviations.",
    ));
    page.section("Accuracy")
        .push(Block::note("This section has the same heading as the one before, and still its own address."));

    let graph = presets::dml(3, "abn-resnet-18");
    page.section("Graphs")
        .push(Block::text("An arrow points from the network that teaches to the one that learns."))
        .push(Block::Figures(vec![
            Figure::new(
                ktg_figures::draw::svg(&graph),
                "Deep mutual learning: every network pulls every other one closer.",
            ),
            Figure::new(
                ktg_figures::draw::svg(&presets::kd(2, "abn-resnet-18", ktg_graph::Node::new("abn-resnet-34"))),
                "Distillation: a frozen teacher with `abn-resnet-34`, which nobody teaches.",
            ),
        ]));

    page.section("Course of training")
        .push(
            Figure::new(lines(), "Test accuracy of four nodes and of their ensemble in the course of training.").wide(),
        )
        .push(per_class());

    page.section("How this was made")
        .push(Block::settings([
            ("Data", "Stanford Dogs, 12,000 training and 8,580 test images of 120 classes"),
            ("Networks", "4 × `abn-resnet-18`"),
            ("Epochs", "300, learning rate 0.1, divided by 10 at epochs 150 and 225"),
            ("Machine", "1 × NVIDIA H100, 16 cores, 128 GiB"),
            ("Graph", "`9f2c51d07a3e`, found in a study of 6,000 trials"),
        ]))
        .push(Block::code(
            "The commands that make these numbers from the data in `data/`:",
            "ktg data pack dogs data/stanford-dogs --side 256 -o dogs.pack\n\
             for seed in 1 2 3 4 5; do\n    ktg train experiment.toml --graph found.json --seed $seed --out runs/found-$seed\ndone\n\
             ktg report runs/* --title \"Knowledge transfer graphs on Stanford Dogs\" --compare independent --out report.html\n",
        ))
        .push(Block::details(
            "The experiment's file, and what is in a run",
            [
                Block::code("", "side = 224\n[graph]\nnodes = 4\narchitecture = \"abn-resnet-18\"\n[train]\nepochs = 300\n"),
                Block::text("Each run is a folder. Its file `run.json` holds the settings and the result."),
                hostile().into(),
            ],
        ));
    page
}

fn results() -> Table {
    let accuracy = "Accuracy in %";
    let columns = [
        Column::right("Nodes"),
        Column::left("Method"),
        Column::right("Node average").under(accuracy),
        Column::right("Ensemble").under(accuracy),
        Column::right("Gain").under("Against independent"),
        Column::right("p").under("Against independent"),
        Column::right("Hours"),
    ];
    let mut table = Table::new("Test accuracy by method, mean ± standard deviation over five runs.", columns);
    for (i, (method, nodes, [average, average_sd, ensemble, ensemble_sd])) in RESULTS.into_iter().enumerate() {
        if i == 3 {
            table.rule();
        }
        let few = method == "DML" && nodes == 4;
        let n = if few { 3 } else { 5 };
        let noted = |cell: Cell| if few { cell.footnote("Mean over three runs.") } else { cell };
        let gain = ensemble - RESULTS[i / 3 * 3].2[2];
        let ensemble = noted(Cell::mean(ensemble, Some(ensemble_sd), n, 2));
        table.row([
            Cell::number(f64::from(nodes), 0),
            Cell::text(method),
            noted(Cell::mean(average, Some(average_sd), n, 2)),
            if method == "Found" { ensemble.emphasized() } else { ensemble },
            if i % 3 == 0 { Cell::text("–") } else { Cell::number(gain, 2) },
            if i % 3 == 0 { Cell::text("–") } else { Cell::number(0.032 / gain, 3) },
            if few { Cell::missing("2 of 5 runs") } else { Cell::number(f64::from(nodes) * 2.31, 1) },
        ]);
    }
    table.rule().row([
        Cell::number(1.0, 0),
        Cell::text("A single network"),
        Cell::mean(67.9, None, 1, 2).footnote("One run only."),
        Cell::missing("no ensemble"),
        Cell::number(-3.46, 2),
        Cell::missing("one run"),
        Cell::number(2.2, 1),
    ]);
    table.note("p: paired permutation test over the runs, corrected after Holm.");
    table
}

/// A table that is wider than a phone.
fn per_class() -> Table {
    let breeds = ["Chihuahua", "Maltese dog", "Afghan hound", "Bloodhound", "Irish wolfhound", "Norwegian elkhound"];
    let columns = (1..=10).map(|node| Column::right(format!("Node {node}")).under("Accuracy in %"));
    let mut table = Table::new(
        "Accuracy of ten nodes on the classes that the ensemble confuses most.",
        [Column::left("Class")].into_iter().chain(columns).chain([Column::right("Ensemble").under("Accuracy in %")]),
    );
    for (i, breed) in breeds.into_iter().enumerate() {
        let value = |node: usize| 48.0 + ((i * 37 + node * 23) % 29) as f64 * 1.1;
        let nodes = (1..=10).map(|node| Cell::number(value(node), 1));
        let ensemble = Cell::number(value(4) + 9.3, 1).emphasized();
        table.row([Cell::text(breed)].into_iter().chain(nodes).chain([ensemble]));
    }
    table.emphasis("better than every node");
    table
}

/// Names that would break a page that trusts them.
fn hostile() -> Table {
    let mut table = Table::new("Names are only names", [Column::left("Name"), Column::right("Accuracy in %")]);
    for name in [
        "<script>alert(1)</script>",
        "a & b | \"c\" 'd'",
        "犬の画像・百二十種",
        "run-with-a-very-long-name-in-one-word-2026-03-14T15-09-26Z-9f2c51d07a3e",
    ] {
        table.row([Cell::text(name), Cell::missing("no result yet")]);
    }
    table
}

/// An SVG in this crate's colors.
fn drawing(width: f64, height: f64, title: &str, content: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"Liberation Sans, Arial, sans-serif\" font-size=\"13\"><title>{title}</title>\
         <rect width=\"{width}\" height=\"{height}\" fill=\"{PAPER}\"/>{content}</svg>"
    )
}

/// Horizontal bars with error bars.
fn bars(results: &[(&str, u32, [f64; 4])]) -> Figure {
    let x = |accuracy: f64| 130.0 + (accuracy - 66.0) * 55.0;
    let mut content = String::new();
    for accuracy in [66.0, 68.0, 70.0, 72.0, 74.0] {
        content += &format!(
            "<path d=\"M{0} 10V150\" stroke=\"{GRID}\"/><text x=\"{0}\" y=\"168\" fill=\"{SOFT_INK}\" \
             text-anchor=\"middle\">{accuracy}</text>",
            x(accuracy)
        );
    }
    for (i, (method, _, [.., mean, sd])) in results.iter().enumerate() {
        let y = 34.0 + 44.0 * i as f64;
        let color = if i == 2 { ENSEMBLE } else { SERIES[0] };
        content += &format!(
            "<text x=\"118\" y=\"{}\" fill=\"{INK}\" text-anchor=\"end\">{method}</text>\
             <circle cx=\"{}\" cy=\"{y}\" r=\"5\" fill=\"{color}\"/>\
             <path d=\"M{} {y}H{}\" stroke=\"{color}\" stroke-width=\"2\"/>",
            y + 4.5,
            x(*mean),
            x(mean - sd),
            x(mean + sd)
        );
    }
    content += &format!("<path d=\"M130 150H625\" stroke=\"{AXIS}\"/>");
    content +=
        &format!("<text x=\"378\" y=\"190\" fill=\"{INK}\" text-anchor=\"middle\">Ensemble accuracy in %</text>");
    let svg = drawing(680.0, 200.0, "Ensemble accuracy by method, four nodes", &content);
    Figure::new(svg, "Ensemble accuracy with four nodes. Lines are standard deviations over the runs.")
}

/// Curves over epochs.
fn lines() -> String {
    let (x, y) = (|epoch: f64| 60.0 + epoch * 2.9, |accuracy: f64| 330.0 - accuracy * 3.8);
    let mut content = String::new();
    for accuracy in [0.0, 20.0, 40.0, 60.0, 80.0] {
        content += &format!(
            "<path d=\"M60 {0}H930\" stroke=\"{GRID}\"/><text x=\"50\" y=\"{1}\" fill=\"{SOFT_INK}\" \
             text-anchor=\"end\">{accuracy}</text>",
            y(accuracy),
            y(accuracy) + 4.5
        );
    }
    for epoch in [0, 75, 150, 225, 300] {
        content += &format!(
            "<text x=\"{}\" y=\"352\" fill=\"{SOFT_INK}\" text-anchor=\"middle\">{epoch}</text>",
            x(f64::from(epoch))
        );
    }
    for node in 0..5 {
        let mut path = String::new();
        for epoch in (0..=300).step_by(3).map(f64::from) {
            let height = 50.0 + 4.0 * f64::from(node) + if epoch >= 150.0 { 9.0 } else { 0.0 };
            let noise = (epoch * (1.7 + f64::from(node))).sin() * if epoch < 150.0 { 2.0 } else { 0.4 };
            let accuracy = (height + noise) * (1.0 - (-epoch / 32.0).exp());
            path += &format!("{}{:.1} {:.1}", if epoch == 0.0 { 'M' } else { 'L' }, x(epoch), y(accuracy));
        }
        let (color, width) = if node == 4 { (ENSEMBLE, 2.6) } else { (SERIES[node as usize], 1.5) };
        content += &format!("<path d=\"{path}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"{width}\"/>");
    }
    content += &format!("<text x=\"495\" y=\"374\" fill=\"{INK}\" text-anchor=\"middle\">Epoch</text>");
    drawing(960.0, 384.0, "Test accuracy in the course of training", &content)
}
