//! `ktg analyse`: what good graphs have in common, and what each edge of one is good for.

use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use indicatif::MultiProgress;
use ktg_base::{first_difference, shell_word};
use ktg_report::{LeftOut, StudyRecord, analysis, edges};
use ktg_search::analysis as changes;
use ktg_search::storage::{StorageUrl, Study};
use ktg_search::{JudgedPart, PrunerKind, SamplerKind, SearchSettings, WorkerSettings, analysed_graph};
use ktg_train::{EvaluateOn, Experiment, PrecisionSetting, Settings};
use serde_json::{Map, Value as Json, json};

use crate::args::{AnalyseArgs, SettingFlags};
use crate::names::storage_option;
use crate::output::{print, print_json};
use crate::progress::{Progress, say};
use crate::search::{default_runs, worker_settings};
use crate::signals;
use crate::study::{say_imported, say_unranked};
use crate::study_worker::Search;
use crate::train::{self, read_settings};

pub fn run(args: &AnalyseArgs) -> Result<ExitCode> {
    if !(args.best > 0.0 && args.best <= 1.0) {
        bail!("`--best {}` is not a share above 0 and at most 1", args.best);
    }
    let url = args.storage.url()?;
    let name = args.name.clone().unwrap_or_else(|| format!("{} edges", args.study));
    match args.edges {
        false => statistics(args, &url, &name).map(|()| ExitCode::SUCCESS),
        true => train_changes(args, &url, &name),
    }
}

/// Prints what the study's graphs have in common, and what the study `name` of a graph's edges found, if there is one.
fn statistics(args: &AnalyseArgs, url: &StorageUrl, name: &str) -> Result<()> {
    if args.experiment.is_some() {
        bail!("an experiment file is only for `--edges`; add it, or leave the file out");
    }
    let study = StudyRecord::read(url, &args.study)?;
    let common = analysis::common(&study, args.best);
    let parameters = analysis::importance(&study);
    let left_out = LeftOut::of(&study);
    if args.json {
        let features = common.iter().flat_map(|common| &common.features).map(|(name, found)| {
            json!({"feature": name, "top": found.top, "all": found.all, "p": found.p, "p_adjusted": found.adjusted})
        });
        let parameters = parameters.iter().map(|parameter| {
            let found = parameter.found.as_ref();
            json!({
                "parameter": parameter.parameter.name,
                "effect": found.map(|found| found.effect),
                "by_chance": found.map(|found| found.chance),
                "p_adjusted": parameter.adjusted,
                "ped_anova": parameter.ped_anova,
            })
        });
        return print_json(&json!({
            "study": study.name,
            "imported": study.metadata.imported,
            "graphs": common.as_ref().map(|common| common.graphs),
            "top": common.as_ref().map(|common| common.top),
            "failed": left_out.failed,
            "unreadable": left_out.unreadable,
            "features": features.collect::<Vec<_>>(),
            "parameters": parameters.collect::<Vec<_>>(),
        }));
    }
    if study.metadata.space.is_none() {
        bail!("the study \"{}\" has no search space of this program", study.name);
    }
    say_imported(&study);
    match &common {
        Some(common) => print(&format!("{}\n", common.table().to_text()))?,
        None => {
            let mut lines =
                vec!["fewer than ten graphs have been judged: too few to compare the best with all".to_owned()];
            lines.extend(left_out.sentences());
            print(&format!("{}\n", lines.join("\n")))?;
        }
    }
    print(&analysis::importance_table(&parameters).to_text())?;
    let mut report = shell_word(&args.study);
    if Study::open_to_read(url, name).is_ok() {
        report += &format!(" {}", shell_word(name));
        edge_tables(&StudyRecord::read(url, name)?)?;
    }
    print(&format!("\nreport  ktg report {report}{}", storage_option(url)))
}

fn edge_tables(study: &StudyRecord) -> Result<()> {
    let (judged, open) = changes::judged(&study.trials);
    for table in analysis::contribution_tables(&analysis::contributions(&judged)) {
        print(&format!("\n{}", table.to_text()))?;
    }
    match open {
        0 => Ok(()),
        open => print(&format!("{open} trainings are not complete and are left out")),
    }
}

/// Works on the study `name` of the changed graphs until it is done.
fn train_changes(args: &AnalyseArgs, url: &StorageUrl, name: &str) -> Result<ExitCode> {
    given_twice(&args.settings)?;
    let source = StudyRecord::read(url, &args.study)?;
    // An analysis that was begun goes on, even if the search has a better graph by now.
    let begun = match Study::open_to_read(url, name) {
        Ok(mut study) if args.trial.is_none() => analysed_graph(&mut study)?,
        _ => None,
    };
    let graph = match begun {
        Some(graph) => graph,
        None => {
            if args.trial.is_none() {
                say_unranked(&source);
            }
            source.graph_of(args.trial)?.1
        }
    };
    let (mut settings, base) = read_settings(args.experiment.as_deref(), &args.settings)?;
    if settings.split.evaluate_on == EvaluateOn::Test {
        // Which edges matter is found out without the test images, like the graph itself.
        settings.split.evaluate_on = EvaluateOn::SearchSplit;
    }
    settings.train.evaluate_every = 0;
    settings.train.keep_last();
    if let (PrecisionSetting::Auto, Some(theirs)) = (settings.train.precision, source.settings()?) {
        // What that was for the search.
        settings.train.precision = theirs.train.precision;
    }
    let (worker, patience) = worker_settings(&args.worker)?;
    let stop = signals::stop_flag()?;
    let bars = MultiProgress::new();
    let template = train::open(settings, &base, args.images, &Progress::among(&bars, "analyse"))?;
    same_experiment(&source, &template)?;
    let template = template.with_graph(graph.clone())?;
    let mut variants = changes::variants(&graph);
    // Without its label, a node with a fresh classifier would teach at random.
    variants.retain(|variant| template.fits(&variant.graph));
    let seeds: Vec<u64> = (1..=args.seeds).collect();
    let trials = changes::trials(&changes::space(&graph)?, &variants, &seeds)?;
    let runs = args.runs.clone().unwrap_or_else(|| default_runs(name));
    let mut search = Search {
        url: url.clone(),
        study: name.to_owned(),
        settings: SearchSettings { sampler: SamplerKind::Random, pruner: PrunerKind::None, ..changes::choices(&graph) },
        worker: WorkerSettings { trials: 0, runs, seed: Some(0), ..worker },
        patience,
        enqueued: None,
    };
    let count = changes::prepare(&mut search.open(&stop, &bars)?, &graph, &trials)?;
    search.enqueued = i64::try_from(count).ok();
    if source.judged_part() == JudgedPart::FirstNode {
        say(&bars, "what is measured now is the ensemble, while the study's graphs were chosen for node 1");
    }
    if !args.json {
        let of = graph.name.as_deref().unwrap_or(&args.study);
        say(&bars, &format!("{of}: {}", edges(&graph)));
        say(&bars, &format!("{} graphs: {count} trainings in the study \"{name}\"", variants.len()));
    }
    if !search.run(template, &stop, &bars)? {
        return Ok(signals::interrupted("stopped; start the same command again to go on"));
    }
    let record = StudyRecord::read(url, name)?;
    let (judged, open) = changes::judged(&record.trials);
    if args.json {
        let contributions = analysis::contributions(&judged);
        let contributions = contributions.iter().map(|contribution| {
            let measures = contribution.measures.iter().map(|(name, paired)| {
                let value = paired.as_ref().map(|paired| {
                    json!({"mean": paired.mean, "std": paired.deviation, "low": paired.interval.low, "high": paired.interval.high, "p": paired.p})
                });
                ((*name).to_owned(), json!(value))
            });
            let measures: Map<String, Json> = measures.collect();
            json!({"change": contribution.variant, "pairs": contribution.pairs, "measures": measures, "p_adjusted": contribution.adjusted})
        });
        print_json(
            &json!({"study": name, "graph": graph, "missing": open, "changes": contributions.collect::<Vec<_>>()}),
        )?;
    } else {
        edge_tables(&record)?;
        let names = format!("{} {}", shell_word(&args.study), shell_word(name));
        print(&format!("\nreport  ktg report {names}{}", storage_option(url)))?;
    }
    Ok(if open == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Flags that would say something else than the study.
fn given_twice(flags: &SettingFlags) -> Result<()> {
    let graph = [flags.graph.is_some(), flags.preset.is_some(), flags.nodes.is_some(), flags.architecture.is_some()];
    match (graph.contains(&true), flags.seed) {
        (true, _) => Err(anyhow!("the graph is the study's; leave out --graph, --preset, --nodes and --architecture")),
        (_, Some(_)) => Err(anyhow!("the seeds are 1, 2, ...; say how many with --seeds")),
        _ => Ok(()),
    }
}

/// Makes sure that the graph is trained as in the search, but for the length of the training.
fn same_experiment(source: &StudyRecord, template: &Experiment) -> Result<()> {
    let name = &source.name;
    let common = |settings: &Settings| {
        let mut settings = settings.without_graph_and_seed();
        let standard = ktg_train::TrainSettings::default();
        settings.train.epochs = standard.epochs;
        settings.train.evaluate_every = standard.evaluate_every;
        settings.train.log_every = standard.log_every;
        settings
    };
    if let Some(settings) = source.settings()? {
        let (theirs, ours) = (common(&settings), common(&template.settings));
        if theirs != ours {
            let difference = first_difference(&ours.to_toml()?, &theirs.to_toml()?);
            bail!(
                "the settings are not those of the study \"{name}\" ({difference}); give its experiment file, of which only \
                 the number of epochs may differ"
            );
        }
    }
    match &source.metadata.images {
        Some(images) if *images != template.data_fingerprint() => {
            Err(anyhow!("the images are not those of the study \"{name}\"; give its experiment file and its data"))
        }
        _ => Ok(()),
    }
}
