//! The analysis of a graph's edges through ordinary workers, on every database.

mod common;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use common::stand_in::{Scripted, quick, work};
use common::{Place, last_heartbeat, on_each_storage, unique};
use ktg_graph::{Design, Gate, Graph, Transfer, presets};
use ktg_search::analysis::{self, judged, variants};
use ktg_search::storage::State;
use ktg_search::{PrunerKind, Report, SamplerKind, SearchSettings, pruner, sampler};
use serde_json::json;

fn found() -> Graph {
    let mut graph = presets::independent(2, "abn-resnet-18");
    graph.set_transfer(0, 1, Some(Transfer::new(Design::BOTH_CLOSER, Gate::Linear)));
    graph
}

on_each_storage!(every_change_is_judged_with_every_seed_however_many_workers_prepare_it);
fn every_change_is_judged_with_every_seed_however_many_workers_prepare_it(place: &Place) {
    let name = unique("edges");
    drop(place.study(&name));
    let graph = found();
    let (space, variants) = (analysis::space(&graph).unwrap(), variants(&graph));
    let trials = analysis::trials(&space, &variants, &[1, 7]).unwrap();
    // The first seed before the second, as one who wants more asks for them; then a second worker finds all there.
    let first = &trials[..variants.len()];
    assert_eq!(analysis::prepare(&mut place.study(&name), &graph, first).unwrap(), variants.len());
    assert_eq!(analysis::prepare(&mut place.study(&name), &graph, &trials).unwrap(), 2 * variants.len());
    assert_eq!(analysis::prepare(&mut place.study(&name), &graph, &trials).unwrap(), 2 * variants.len());
    assert_eq!(place.study(&name).trials().unwrap().len(), 2 * variants.len());
    assert_eq!(ktg_search::analysed_graph(&mut place.study(&name)).unwrap(), Some(graph.clone()));
    let other = presets::dml(2, "abn-resnet-18");
    let error = analysis::prepare(&mut place.study(&name), &other, &trials).unwrap_err().to_string();
    assert!(error.contains("it analyses another graph"), "{error}");

    let mut seeds = Vec::new();
    let mut objective = Scripted::new(1, |task, step, _| {
        let seed = task.seed.expect("it was enqueued with one");
        if step == 1 {
            seeds.push((task.graph.hash(), seed));
        }
        // The first training's worker dies, as far as others can tell.
        if seeds.len() == 1 {
            return Ok(Report::Stopped);
        }
        let edges = task.graph.active_transfers().count();
        let value = 50.0 + seed as f64 + 2.0 * edges as f64;
        Ok(match step {
            1 => Report::Step(1, value),
            _ => Report::Finished(value, vec![("node average".to_owned(), json!(value - 1.0))]),
        })
    });
    let settings = SearchSettings { pruner: PrunerKind::None, ..SearchSettings::default() };
    let ways = (sampler::by_kind(SamplerKind::Random), pruner::by_settings(&settings, &name, 1));
    let worker = quick(0, &place.directory().join(&name));
    let stop = AtomicBool::new(false);
    let done = work(place.study(&name), space, ways, &mut objective, worker, &stop, &mut |_| {}).unwrap();
    drop(objective);
    assert!(done);
    // The one that was given back was trained again.
    assert_eq!(seeds.len(), trials.len() + 1);
    assert_eq!(seeds.iter().filter(|seed| **seed == seeds[0]).count(), 2);

    let all = place.study(&name).trials().unwrap();
    assert!(all.iter().all(|trial| trial.state == State::Complete));
    let (judged, open) = judged(&all);
    assert_eq!((judged.len(), open), (trials.len(), 0));
    let value = |variant: &str, seed: u64| {
        let trial = judged.iter().find(|j| j.variant == variant && j.seed == seed).unwrap();
        trial.measures.iter().find(|(name, _)| name == "ensemble").unwrap().1
    };
    assert_eq!((value("as found", 1), value("1 -> 2 cut", 1), value("1 -> 2 flipped", 7)), (53.0, 51.0, 59.0));
    let names: Vec<&str> = judged[0].measures.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["ensemble", "node average"]);
}

on_each_storage!(a_search_is_not_turned_into_an_analysis);
fn a_search_is_not_turned_into_an_analysis(place: &Place) {
    let name = unique("search");
    let mut study = place.study(&name);
    study.insert(&common::new_trial("other"), "work", 10).unwrap();
    let graph = found();
    let trials = analysis::trials(&analysis::space(&graph).unwrap(), &variants(&graph), &[1]).unwrap();
    let error = analysis::prepare(&mut study, &graph, &trials).unwrap_err().to_string();
    assert!(error.contains("it is a search, not an analysis"), "{error}");
    assert_eq!((ktg_search::analysed_graph(&mut study).unwrap(), study.trials().unwrap().len()), (None, 1));
}

on_each_storage!(a_training_that_a_dead_worker_left_counts_once);
fn a_training_that_a_dead_worker_left_counts_once(place: &Place) {
    let name = unique("dead");
    drop(place.study(&name));
    let graph = found();
    let space = analysis::space(&graph).unwrap();
    let trials = analysis::trials(&space, &variants(&graph)[..1], &[1]).unwrap();
    let mut study = place.study(&name);
    analysis::prepare(&mut study, &graph, &trials).unwrap();
    let dead = study.claim_waiting("a worker that dies").unwrap().unwrap().id;
    let last = last_heartbeat(&mut study, dead);
    let reaped = study.reap(&last, Duration::from_secs(60), 3).unwrap();
    assert_eq!(reaped.len(), 1, "{reaped:?}");
    let all = study.trials().unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!(
        (all[1].attributes["seed"].clone(), all[1].attributes["variant"].clone()),
        (json!(1), json!("as found"))
    );
    let (judged, open) = judged(&all);
    assert_eq!((judged.len(), open), (0, 1), "the dead one is not missing, its repetition is");
}
