//! Worker processes that are killed, suspended and cut off from their database, again and again, lose and repeat nothing;
//! not with fewer connections than they are, nor while another program fails, enqueues and deletes trials.
//!
//! `KTG_FAULT_SECONDS` says for how long (default: 8), `KTG_FAULT_SEED` repeats a run's faults (as far as time allows).

mod common;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use common::stand_in::{occupant, quick, space, train, work};
use common::{Place, patience, unique};
use ktg_search::storage::{StorageUrl, Study};
use ktg_search::{Objective, Occupant, Report, SearchSettings, Task, Work, WorkerSettings, pruner, sampler};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value as Json, json};

/// What a worker process shall do.
const ORDER: &str = "KTG_TEST_WORKER";
const STEPS: u32 = 8;
const WORKERS: usize = 8;
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A worker that lives is heard within four seconds even if its heartbeat comes when the worker has begun to wait for a lock
/// (two seconds) and then finds no connection free; on a busy machine, somewhat later.
const SILENCE: Duration = Duration::from_secs(6);
const RETRIES: usize = 3;
/// So many trials are done after the faults.
const CALM: i64 = 60;

// ---- a worker process ----

/// Trains alone in a directory, or says that it is not.
struct Alone {
    runs: PathBuf,
}

impl Objective for Alone {
    fn steps(&self) -> u32 {
        STEPS
    }

    fn occupant(&self, directory: &Path) -> Occupant {
        occupant(directory)
    }

    fn start<'a>(&'a mut self, task: Task) -> Box<dyn Work + 'a> {
        Box::new(AloneWork { runs: &self.runs, lock: None, done: task.reported, task })
    }
}

/// A task, and the lock on its directory.
struct AloneWork<'a> {
    runs: &'a Path,
    lock: Option<fs::File>,
    done: i64,
    task: Task,
}

impl Work for AloneWork<'_> {
    fn next(&mut self) -> Result<Report, String> {
        if self.lock.is_none() {
            self.lock = Some(self.lock()?);
        }
        self.done += 1;
        Ok(train(STEPS, &self.task, self.done, &mut 0, Duration::from_millis(5)))
    }
}

impl AloneWork<'_> {
    /// Takes the directory, or says who has it.
    fn lock(&self) -> Result<fs::File, String> {
        let task = &self.task;
        fs::create_dir_all(&task.directory).unwrap();
        let lock = fs::File::create(task.directory.join("lock")).unwrap();
        let owner = task.directory.join("owner");
        let locked = lock.try_lock().is_ok();
        if locked {
            fs::write(&owner, std::process::id().to_string()).unwrap();
        } else {
            // A worker that was suspended lost its trial, and does not know yet.
            let owner = fs::read_to_string(&owner).unwrap_or_default();
            if !self.runs.join("suspended").join(&owner).exists() {
                let text = format!("trial {} is being run by {owner}, too", task.number);
                fs::write(self.runs.join("doubles").join(task.number.to_string()), &text).unwrap();
                return Err(text);
            }
        }
        Ok(lock)
    }
}

#[test]
#[ignore = "is a worker process of the other tests, which start it"]
fn worker_process() {
    let order =
        std::env::var(ORDER).expect("no order: other tests start this one; leave it out with --skip worker_process");
    let order: Json = serde_json::from_str(&order).unwrap();
    let text = |key: &str| order[key].as_str().unwrap();
    let url: StorageUrl = text("url").parse().unwrap();
    let runs = PathBuf::from(text("runs"));
    let study = Study::open(&url, text("study"), false, patience()).unwrap();
    let ways = (sampler::by_kind(ktg_search::SamplerKind::Random), pruner(text("pruner")));
    let settings = WorkerSettings {
        heartbeat: HEARTBEAT,
        silence: SILENCE,
        retries: RETRIES,
        ..quick(order["trials"].as_i64().unwrap(), &runs)
    };
    let mut objective = Alone { runs };
    let stop = AtomicBool::new(false);
    let mut tell = |event: ktg_search::Event| eprintln!("{event:.400?}");
    assert!(work(study, space(3, ""), ways, &mut objective, settings, &stop, &mut tell).unwrap());
}

fn pruner(kind: &str) -> Box<dyn pruner::Pruner> {
    let settings = SearchSettings { pruner: kind.parse().unwrap(), ..SearchSettings::default() };
    pruner::by_settings(&settings, "faults", STEPS)
}

// ---- who breaks it ----

/// A worker process that does not outlive this.
struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Whether it has ended; it must then have ended well.
    fn ended(&mut self) -> bool {
        let Some(status) = self.child.try_wait().unwrap() else { return false };
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let last = log.lines().rev().take(15).collect::<Vec<_>>();
        assert!(
            status.success(),
            "a worker ended with {status}:\n{}",
            last.into_iter().rev().collect::<Vec<_>>().join("\n")
        );
        true
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All that a run needs.
struct Faults<'a> {
    place: &'a Place,
    /// Where the workers find it.
    url: String,
    pruner: &'static str,
    name: String,
    runs: PathBuf,
    started: usize,
}

impl Faults<'_> {
    fn start(&mut self, trials: i64) -> Process {
        self.started += 1;
        let order = json!({"url": self.url, "study": self.name, "runs": self.runs, "pruner": self.pruner,
            "trials": trials});
        let log = self.runs.join(format!("worker-{}.log", self.started));
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--ignored", "--exact", "worker_process", "--nocapture"])
            .env(ORDER, order.to_string())
            .env("RUST_BACKTRACE", "0");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
        Process { child: command.spawn().unwrap(), log }
    }

    /// Breaks things for a while, and until another program, if there is one, has done enough; says how many of which.
    fn break_things(
        &mut self,
        time: Duration,
        meddler: Option<&Meddler>,
        rng: &mut ChaCha8Rng,
    ) -> (usize, usize, usize) {
        let endless = i64::MAX / 2;
        let mut workers: Vec<Process> = (0..WORKERS).map(|_| self.start(endless)).collect();
        let mut suspended: Option<(Process, Instant, bool)> = None;
        let (mut kills, mut suspensions) = (0, 0);
        let mut restarting: Vec<std::thread::JoinHandle<bool>> = Vec::new();
        let restart = (!self.place.is_sqlite()).then(common::restart_command);
        let begin = Instant::now();
        let mut next_restart = begin + time / 3;
        let has_meddled = || meddler.is_none_or(Meddler::has_done_enough) || begin.elapsed() > 8 * time;
        while begin.elapsed() < time || !has_meddled() {
            std::thread::sleep(Duration::from_millis(rng.random_range(50..300)));
            assert!(!workers.iter_mut().any(Process::ended), "a worker is done with an endless study");
            // Workers outlive every other restart; in between, they also die while they wait for the server.
            if restarting.len() % 2 == 1 && restarting.last().is_some_and(|thread| !thread.is_finished()) {
                continue;
            }
            let mut victim = std::mem::replace(&mut workers[rng.random_range(0..WORKERS)], self.start(endless));
            match &mut suspended {
                None => {
                    fs::write(self.runs.join("suspended").join(victim.child.id().to_string()), "").unwrap();
                    victim.signal("-STOP");
                    suspended = Some((victim, Instant::now() + SILENCE + Duration::from_millis(2500), false));
                    suspensions += 1;
                    continue;
                }
                // It goes on with a trial that was taken from it, for a moment.
                Some((process, at, resumed)) if Instant::now() > *at => match std::mem::replace(resumed, true) {
                    false => {
                        process.signal("-CONT");
                        *at = Instant::now() + Duration::from_millis(500);
                    }
                    true => suspended = None,
                },
                Some(_) => {}
            }
            victim.kill();
            kills += 1;
            if let Some(command) = restart.clone().filter(|_| Instant::now() > next_restart) {
                restarting.push(std::thread::spawn(move || restart_database(&command)));
                next_restart = Instant::now() + Duration::from_secs(15);
            }
        }
        let restarts = restarting.into_iter().filter_map(|thread| thread.join().unwrap().then_some(())).count();
        (kills, suspensions, restarts)
    }

    /// Lets workers finish the study.
    fn calm_down(&mut self) -> i64 {
        let trials = self.place.study(&self.name).count().unwrap() + CALM;
        let mut workers: Vec<Process> = (0..WORKERS).map(|_| self.start(trials)).collect();
        let end = Instant::now() + Duration::from_secs(120);
        while !workers.is_empty() {
            workers.retain_mut(|worker| !worker.ended());
            assert!(Instant::now() < end, "the study does not end");
            std::thread::sleep(Duration::from_millis(50));
        }
        trials
    }
}

/// Another program, which does to trials what it likes until it is asked what that was.
struct Meddler {
    child: Child,
    log: PathBuf,
}

impl Meddler {
    fn start(faults: &Faults, seed: u64) -> Self {
        let python = common::needed("KTG_OPTUNA_PYTHON", "a Python with optuna 5.0.0");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/optuna/meddle.py");
        let url = common::url_for_optuna(faults.place);
        let log = faults.runs.join("deeds.jsonl");
        let mut command = Command::new(python);
        command.args([script, &url, &faults.name, &seed.to_string()]);
        command.stdin(Stdio::piped()).stdout(fs::File::create(&log).unwrap());
        command.stderr(fs::File::create(faults.runs.join("meddler.log")).unwrap());
        Self { child: command.spawn().unwrap(), log }
    }

    /// Whether it has done everything several times: on a busy machine, it is slow.
    fn has_done_enough(&self) -> bool {
        let log = fs::read_to_string(&self.log).unwrap();
        ["\"failed\"", "\"delete\"", "\"enqueue\""].iter().all(|deed| log.matches(deed).count() >= 4)
    }

    fn deeds(mut self) -> Deeds {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
        let mut deeds = Deeds::default();
        for line in fs::read_to_string(&self.log).unwrap().lines() {
            let deed: Json = serde_json::from_str(line).unwrap();
            match deed["deed"].as_str().unwrap() {
                "fail" => drop(deeds.failed.insert(deed["number"].as_i64().unwrap())),
                "failed" => drop(deeds.surely_failed.insert(deed["number"].as_i64().unwrap())),
                "delete" => {
                    deeds.deleted.insert(deed["number"].as_i64().unwrap());
                    deeds
                        .deleted_retries
                        .extend(deed["repeats"].as_array().unwrap().iter().map(|n| n.as_i64().unwrap()));
                }
                _ => deeds.enqueued += 1,
            }
        }
        deeds
    }
}

/// What another program has done, or at least tried.
#[derive(Debug, Default)]
struct Deeds {
    /// Numbers of trials.
    failed: HashSet<i64>,
    /// Those of them that it knows it has failed.
    surely_failed: HashSet<i64>,
    /// The same.
    deleted: HashSet<i64>,
    /// Numbers of the trials that those repeated.
    deleted_retries: HashSet<i64>,
    enqueued: usize,
}

/// Restarts the server, which the tests that run at once share, unless it has just been restarted.
fn restart_database(command: &str) -> bool {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    let Ok(mut last) = LAST.try_lock() else { return false };
    if last.is_some_and(|last| last.elapsed() < Duration::from_secs(8)) {
        return false;
    }
    common::run_shell(command);
    *last = Some(Instant::now());
    true
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// What makes it harder.
#[derive(Default)]
struct Hardship {
    /// The workers have no more connections than that.
    connections: Option<usize>,
    /// Another program is at work on the study.
    meddled: bool,
}

/// Breaks things, and makes sure that the study is as if nothing had happened. Returns its name.
fn survives(place: &Place, pruner: &'static str, hardship: Hardship) -> String {
    let runs = place.directory().join("runs");
    ["suspended", "doubles"].iter().for_each(|name| fs::create_dir_all(runs.join(name)).unwrap());
    let name = unique("faults");
    drop(place.study(&name));
    let url = hardship.connections.map_or(place.text.clone(), |connections| place.limited(connections).text);
    let mut faults = Faults { place, url, pruner, name, runs, started: 0 };
    let seed = number("KTG_FAULT_SEED").unwrap_or(std::process::id().into());
    println!("{pruner} in {}: KTG_FAULT_SEED={seed}", place.url);
    let time = Duration::from_secs(number("KTG_FAULT_SECONDS").unwrap_or(8));
    let begin = Instant::now();
    let meddler = hardship.meddled.then(|| Meddler::start(&faults, seed));
    let (kills, suspensions, restarts) =
        faults.break_things(time, meddler.as_ref(), &mut ChaCha8Rng::seed_from_u64(seed));
    let deeds = meddler.map(Meddler::deeds);
    println!("{kills} kills, {suspensions} suspensions, {restarts} restarts in {:.1?}", begin.elapsed());
    assert_eq!(doubles(&faults.runs), Vec::<String>::new());
    let trials = faults.calm_down();
    println!("calm after {:.1?}", begin.elapsed());
    assert_eq!(doubles(&faults.runs), Vec::<String>::new());
    assert!(kills >= 20 && suspensions > 0);
    check::whole(place, &faults.name, trials, pruner, deeds.as_ref());
    faults.name
}

fn survives_and_is_read_by_optuna(place: &Place, pruner: &'static str) {
    let python = common::needed("KTG_OPTUNA_PYTHON", "a Python with optuna 5.0.0");
    let study = survives(place, pruner, Hardship::default());
    check::by_optuna(&python, place, &study);
}

fn doubles(runs: &Path) -> Vec<String> {
    let entries = fs::read_dir(runs.join("doubles")).unwrap();
    entries.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
}

#[test]
fn asha_in_sqlite_survives_everything() {
    survives(&Place::sqlite(), "asha", Hardship::default());
}

#[test]
fn promotion_in_sqlite_survives_everything() {
    survives(&Place::sqlite(), "promotion", Hardship::default());
}

#[test]
#[ignore = "needs Optuna: set KTG_OPTUNA_PYTHON"]
fn asha_in_sqlite_survives_everything_and_optuna_reads_it() {
    survives_and_is_read_by_optuna(&Place::sqlite(), "asha");
}

#[test]
#[ignore = "needs Optuna: set KTG_OPTUNA_PYTHON"]
fn promotion_in_sqlite_survives_everything_and_optuna_reads_it() {
    survives_and_is_read_by_optuna(&Place::sqlite(), "promotion");
}

#[test]
#[ignore = "needs PostgreSQL and Optuna: set KTG_TEST_POSTGRES, KTG_TEST_POSTGRES_RESTART and KTG_OPTUNA_PYTHON"]
fn asha_in_postgresql_survives_everything_and_optuna_reads_it() {
    survives_and_is_read_by_optuna(&Place::postgres(), "asha");
}

#[test]
#[ignore = "needs PostgreSQL and Optuna: set KTG_TEST_POSTGRES, KTG_TEST_POSTGRES_RESTART and KTG_OPTUNA_PYTHON"]
fn promotion_in_postgresql_survives_everything_and_optuna_reads_it() {
    survives_and_is_read_by_optuna(&Place::postgres(), "promotion");
}

#[test]
#[ignore = "needs PostgreSQL: set KTG_TEST_POSTGRES and KTG_TEST_POSTGRES_RESTART"]
fn asha_over_five_connections_survives_everything() {
    survives(&Place::postgres(), "asha", Hardship { connections: Some(5), meddled: false });
}

#[test]
#[ignore = "needs Optuna: set KTG_OPTUNA_PYTHON"]
fn promotion_in_sqlite_survives_everything_and_another_program() {
    survives(&Place::sqlite(), "promotion", Hardship { connections: None, meddled: true });
}

#[test]
#[ignore = "needs PostgreSQL and Optuna: set KTG_TEST_POSTGRES, KTG_TEST_POSTGRES_RESTART and KTG_OPTUNA_PYTHON"]
fn promotion_in_postgresql_survives_everything_and_another_program() {
    survives(&Place::postgres(), "promotion", Hardship { connections: None, meddled: true });
}

mod check {
    //! Whether a study is as if nothing had happened.

    use std::collections::{BTreeMap, HashMap, HashSet};
    use std::process::Command;

    use ktg_search::Genes;
    use ktg_search::storage::{State, Trial};
    use serde_json::json;

    use super::{Deeds, Place, RETRIES, STEPS};
    use crate::common::stand_in::{space, value};
    use crate::common::url_for_optuna;

    /// The numbers of the trials that a trial repeats.
    fn history(trial: &Trial) -> Vec<i64> {
        trial.system.get("retry_history").map_or_else(Vec::new, |h| serde_json::from_value(h.clone()).unwrap())
    }

    /// Enqueued by Optuna, or a repetition of such a one.
    fn is_enqueued(trial: &Trial) -> bool {
        trial.system.contains_key("fixed_params")
    }

    pub fn whole(place: &Place, name: &str, limit: i64, pruner: &str, deeds: Option<&Deeds>) {
        let is_untouched = deeds.is_none();
        let none = Deeds::default();
        let deeds = deeds.unwrap_or(&none);
        let mut study = place.study(name);
        let trials = study.trials().unwrap();
        numbers(&trials, deeds);
        no_orphans(place);

        let own = || trials.iter().filter(|trial| !is_enqueued(trial));
        let retried: Vec<i64> = own().filter_map(|trial| history(trial).last().copied()).collect();
        let mut retried_once: HashSet<i64> = retried.iter().copied().collect();
        assert_eq!(retried.len(), retried_once.len(), "a trial was repeated twice");
        retried_once.extend(&deeds.deleted_retries);
        let by_number: HashMap<i64, &Trial> = own().map(|trial| (trial.number, trial)).collect();
        for trial in &trials {
            match is_enqueued(trial) {
                true => enqueued(trial, deeds),
                false => one(trial, &by_number, &retried_once, deeds),
            }
        }

        let first = own().filter(|trial| trial.repeats().is_none());
        let graphs: Vec<String> = first.map(|trial| trial.attributes["graph"].to_string()).collect();
        assert_eq!(graphs.iter().collect::<HashSet<_>>().len(), graphs.len(), "a graph is there twice");
        assert_eq!(study.count().unwrap(), limit);
        if is_untouched {
            assert_eq!(graphs.len() as i64, limit);
            let over = trials.iter().filter(|trial| !retried_once.contains(&trial.number));
            assert_eq!(over.count() as i64, limit);
        }
        let own_by_id: HashMap<i64, &Trial> = own().map(|trial| (trial.id, trial)).collect();
        let mut rungs: HashMap<(u32, String), Vec<i64>> = HashMap::new();
        for rung in study.rungs(None).unwrap() {
            if let Some(trial) = own_by_id.get(&rung.id) {
                rungs.entry((rung.rung, trial.attributes["graph"].to_string())).or_default().push(rung.number);
            }
        }
        rungs.iter().for_each(|(key, trials)| assert_eq!(trials.len(), 1, "{key:?} has values of {trials:?}"));

        let best = trials.iter().filter(|t| t.state == State::Complete).filter_map(|t| t.value).max_by(f64::total_cmp);
        let summary = place.storage().studies().unwrap().into_iter().find(|study| study.name == name).unwrap();
        assert_eq!(summary.best, best);
        println!("{pruner}: {:?}, {} retries", summary.states, retried.len());
        if !is_untouched {
            let by_another = trials.iter().filter(|trial| is_failed_by_another(trial, deeds));
            let mut failed: HashSet<i64> = by_another.map(|trial| trial.number).collect();
            let (deleted, enqueued) = (deeds.deleted.len(), deeds.enqueued);
            println!("another program: {} failed, {deleted} deleted, {enqueued} enqueued", failed.len());
            assert!(!failed.is_empty() && deleted > 0 && trials.iter().any(is_enqueued));
            failed.extend(&deeds.deleted);
            assert!(deeds.surely_failed.is_subset(&failed), "a failed trial went on: {failed:?} of {deeds:?}");
        }
        assert!(best.is_some() && !retried.is_empty());
    }

    /// Numbers grow, and lack none but those of deleted trials. (Optuna counts the trials before: where some were deleted,
    /// it gives a number twice.)
    fn numbers(trials: &[Trial], deeds: &Deeds) {
        let mut by_key: Vec<&Trial> = trials.iter().collect();
        by_key.sort_by_key(|trial| trial.id);
        let own: Vec<i64> = by_key.iter().filter(|trial| !is_enqueued(trial)).map(|trial| trial.number).collect();
        assert!(own.is_sorted_by(|a, b| a < b), "{own:?}");
        let all: HashSet<i64> = trials.iter().map(|trial| trial.number).chain(deeds.deleted.iter().copied()).collect();
        let missing: Vec<i64> = (0..*own.last().unwrap()).filter(|number| !all.contains(number)).collect();
        assert_eq!(missing, Vec::<i64>::new());
    }

    /// Nothing was written to a trial that was gone.
    fn no_orphans(place: &Place) {
        for table in ["user_attributes", "system_attributes", "params", "values", "intermediate_values", "heartbeats"] {
            let orphans =
                format!("SELECT count(*) FROM trial_{table} WHERE trial_id NOT IN (SELECT trial_id FROM trials)");
            assert_eq!(place.count(&orphans), 0, "trial_{table}");
        }
    }

    /// Whether another program has failed a trial, which nobody then changes.
    fn is_failed_by_another(trial: &Trial, deeds: &Deeds) -> bool {
        let is_failed = trial.state == State::Fail && !trial.attributes.contains_key("reason");
        assert!(!is_failed || (deeds.failed.contains(&trial.number) && trial.value.is_none()), "{trial:?}");
        is_failed
    }

    fn enqueued(trial: &Trial, deeds: &Deeds) {
        let context = format!("{trial:?}");
        let is_invalid = trial.attributes.contains_key("invalid");
        let reason = trial.attributes.get("reason").map_or("", |reason| reason.as_str().unwrap());
        match trial.state {
            State::Fail if is_failed_by_another(trial, deeds) || reason.contains("fell silent") => {}
            State::Fail => assert!(is_invalid || reason.contains("the graph of trial"), "{context}"),
            State::Complete | State::Pruned => {
                assert!(!is_invalid, "{context}");
                judged(trial);
            }
            State::Running | State::Waiting => panic!("not over: {context}"),
        }
    }

    /// A trial has the graph that its parameters make, and that graph's values.
    fn judged(trial: &Trial) {
        let space = space(3, "");
        let context = format!("{trial:?}");
        let genes = space.genes(&trial.parameters).unwrap().into_iter().collect::<Option<Genes>>().expect(&context);
        let graph = space.graph(&genes);
        assert_eq!(trial.attributes["graph"], json!(graph.hash().to_string()), "{context}");
        let expected: BTreeMap<i64, f64> = trial.reports.keys().map(|step| (*step, value(&graph, *step))).collect();
        assert_eq!(trial.reports, expected, "{context}");
        let last = trial.last_report();
        if trial.state == State::Complete {
            assert_eq!(last, Some((STEPS.into(), value(&graph, STEPS.into()))), "{context}");
        }
        if trial.state != State::Fail {
            assert_eq!(trial.value, last.map(|(_, value)| value), "{context}");
        }
    }

    fn one(trial: &Trial, by_number: &HashMap<i64, &Trial>, retried: &HashSet<i64>, deeds: &Deeds) {
        let context = format!("{trial:?}");
        judged(trial);
        match trial.state {
            State::Complete => {}
            State::Pruned => assert!(trial.rung() > 0, "{context}"),
            State::Fail if is_failed_by_another(trial, deeds) => return,
            State::Fail => {
                assert!(trial.attributes["reason"].as_str().unwrap().contains("fell silent"), "{context}");
                assert_eq!(retried.contains(&trial.number), history(trial).len() < RETRIES, "{context}");
                assert_eq!(
                    (trial.value, trial.rung() > 0),
                    (None, !retried.contains(&trial.number) && trial.rung() > 0)
                );
            }
            State::Running | State::Waiting => panic!("not over: {context}"),
        }
        assert!(trial.completed.is_some() && trial.started <= trial.completed, "{context}");
        for number in history(trial) {
            assert!(number < trial.number);
            if deeds.deleted.contains(&number) {
                continue;
            }
            let before = by_number[&number];
            assert_eq!((before.state, &before.attributes["graph"]), (State::Fail, &trial.attributes["graph"]));
        }
    }

    pub fn by_optuna(python: &str, place: &Place, name: &str) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/optuna/read_study.py");
        let output = Command::new(python).args([script, &url_for_optuna(place), name]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        println!("{:.300}", String::from_utf8_lossy(&output.stdout));
    }
}
