//! Trains every graph of two networks, of which the first learns from the label through an open gate, once, and writes how
//! good its ensemble was after each epoch: an objective on which searches can be compared without training
//! (`crates/ktg-search/examples/compare.rs`, `optuna_search.py`). `recorded-m2.csv` has its lines, sorted.
//!
//! `record OUT.csv [THREADS]`; started again, it goes on with the graphs that OUT.csv lacks.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ktg_data::{Augment, Preset};
use ktg_graph::{Design, Gate, Graph, Node, Transfer};
use ktg_train::{EvaluateOn, Experiment, Run, RunDirectory, Schedule, Settings};

const ARCHITECTURE: &str = "abn-resnet-cifar-8";
const EPOCHS: usize = 8;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

fn settings() -> Settings {
    let mut settings = Settings { side: 14, seed: 1, ..Settings::default() };
    settings.augment = Augment::preset(Preset::None);
    settings.split.train_share = 0.3;
    settings.split.search_share = 1.0 / 3.0;
    settings.split.evaluate_on = EvaluateOn::SearchSplit;
    settings.train.epochs = EPOCHS;
    settings.train.batch_size = 25;
    settings.train.log_every = 0;
    settings.train.loader_threads = 0;
    settings.train.schedule = Schedule::Cosine {};
    settings
}

/// Every such graph in which both networks are trained, in canonical form, once each.
fn all_graphs() -> Vec<Graph> {
    let transfers = || {
        let active = Gate::THESIS.into_iter().filter(|gate| !gate.is_cut());
        let pairs = active.flat_map(|gate| Design::THESIS.into_iter().map(move |design| Transfer::new(design, gate)));
        std::iter::once(None).chain(pairs.map(Some))
    };
    let labels = [Gate::Through, Gate::Linear, Gate::Cutoff];
    let mut seen = HashSet::new();
    let mut graphs = Vec::new();
    for second in labels {
        for forth in transfers() {
            for back in transfers() {
                let mut graph = Graph::new(vec![Node::new(ARCHITECTURE); 2]);
                graph.set_label_gate(0, Gate::Through);
                graph.set_label_gate(1, second);
                graph.set_transfer(0, 1, forth);
                graph.set_transfer(1, 0, back);
                if graph.is_trained(1) && seen.insert(graph.hash()) {
                    graphs.push(graph.canonical());
                }
            }
        }
    }
    graphs
}

/// Trains in `directory`; returns the ensemble's accuracy per epoch, up to an error.
fn train(settings: Settings, directory: &Path) -> (Vec<f64>, Result<(), ktg_train::Error>) {
    let mut curve = Vec::new();
    let pull = || {
        let experiment = Experiment::open(settings, Path::new("."))?;
        let mut run = Run::start(experiment, &RunDirectory::new(directory))?;
        while let Some(epoch) = run.next_epoch()? {
            curve.extend(epoch.evaluation.map(|measures| measures.ensemble.accuracy.top1));
        }
        Ok(())
    };
    let result = pull();
    (curve, result)
}

fn describe(graph: &Graph) -> String {
    let labels = (0..graph.len()).map(|m| format!("label -> {} {}", m + 1, graph.label_gate(m)));
    let transfers = graph.active_transfers().map(|(s, t, e)| format!("{} -> {} {} {}", s + 1, t + 1, e.design, e.gate));
    labels.chain(transfers).collect::<Vec<_>>().join("; ")
}

fn main() -> Result<(), AnyError> {
    let mut arguments = std::env::args().skip(1);
    let out = arguments.next().ok_or("usage: record OUT.csv [THREADS]")?;
    let threads: usize = arguments.next().map_or(Ok(2), |n| n.parse())?;
    let recorded = std::fs::read_to_string(&out).unwrap_or_default();
    let known: HashSet<&str> = recorded.lines().filter_map(|line| line.split(',').next()).collect();
    let graphs = all_graphs();
    eprintln!("{} graphs, {} known", graphs.len(), known.len().saturating_sub(1));
    let mut file = OpenOptions::new().create(true).append(true).open(&out)?;
    if known.is_empty() {
        let epochs = (1..=EPOCHS).map(|e| format!("epoch {e}")).collect::<Vec<_>>();
        writeln!(file, "hash,graph,{}", epochs.join(","))?;
    }
    let todo: Vec<&Graph> = graphs.iter().filter(|graph| !known.contains(&*graph.hash().to_string())).collect();
    let (next, file) = (AtomicUsize::new(0), Mutex::new(file));
    let scratch = Path::new(&out).with_extension("runs");
    let work = |thread: usize| -> Result<(), AnyError> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
        while let Some(graph) = todo.get(next.fetch_add(1, Ordering::Relaxed)) {
            let directory = scratch.join(thread.to_string());
            let _ = std::fs::remove_dir_all(&directory);
            std::fs::create_dir_all(&directory)?;
            let mut settings = settings();
            let path = std::path::absolute(directory.with_extension("toml"))?;
            std::fs::write(&path, graph.to_toml())?;
            settings.graph.file = Some(path);
            let (curve, trained) = pool.install(|| train(settings, &directory));
            if let Err(e) = trained {
                eprintln!("{}: {e}", describe(graph));
            }
            let values = curve.iter().map(|v| format!("{v:.2}")).collect::<Vec<_>>();
            let line = format!("{},{},{}\n", graph.hash(), describe(graph), values.join(","));
            file.lock().map_err(|_| "another thread broke down")?.write_all(line.as_bytes())?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        handles.into_iter().try_for_each(|h| h.join().map_err(|_| "a thread broke down")?)
    })
}
