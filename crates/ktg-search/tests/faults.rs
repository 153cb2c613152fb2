//! Worker processes that are killed, suspended and cut off from their database, again and again, lose and repeat nothing.
//!
//! `KTG_FAULT_SECONDS` says for how long (default: 8), `KTG_FAULT_SEED` repeats a run's faults (as far as time allows).

mod common;

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
const SILENCE: Duration = Duration::from_secs(3);
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
    pruner: &'static str,
    name: String,
    runs: PathBuf,
    started: usize,
}

impl Faults<'_> {
    fn start(&mut self, trials: i64) -> Process {
        self.started += 1;
        let order = json!({"url": self.place.text, "study": self.name, "runs": self.runs, "pruner": self.pruner,
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

    /// Breaks things for a while, and says how many of which.
    fn break_things(&mut self, time: Duration, rng: &mut ChaCha8Rng) -> (usize, usize, usize) {
        let endless = i64::MAX / 2;
        let mut workers: Vec<Process> = (0..WORKERS).map(|_| self.start(endless)).collect();
        let mut suspended: Option<(Process, Instant, bool)> = None;
        let (mut kills, mut suspensions) = (0, 0);
        let mut restarting: Vec<std::thread::JoinHandle<bool>> = Vec::new();
        let restart = (!self.place.is_sqlite()).then(common::restart_command);
        let begin = Instant::now();
        let mut next_restart = begin + time / 3;
        while begin.elapsed() < time {
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

/// Breaks things, and makes sure that the study is as if nothing had happened. Returns its name.
fn survives(place: &Place, pruner: &'static str) -> String {
    let runs = place.directory().join("runs");
    ["suspended", "doubles"].iter().for_each(|name| fs::create_dir_all(runs.join(name)).unwrap());
    let name = unique("faults");
    drop(place.study(&name));
    let mut faults = Faults { place, pruner, name, runs, started: 0 };
    let seed = number("KTG_FAULT_SEED").unwrap_or(std::process::id().into());
    println!("{pruner} in {}: KTG_FAULT_SEED={seed}", place.url);
    let time = Duration::from_secs(number("KTG_FAULT_SECONDS").unwrap_or(8));
    let begin = Instant::now();
    let (kills, suspensions, restarts) = faults.break_things(time, &mut ChaCha8Rng::seed_from_u64(seed));
    println!("{kills} kills, {suspensions} suspensions, {restarts} restarts in {:.1?}", begin.elapsed());
    assert_eq!(doubles(&faults.runs), Vec::<String>::new());
    let trials = faults.calm_down();
    println!("calm after {:.1?}", begin.elapsed());
    assert_eq!(doubles(&faults.runs), Vec::<String>::new());
    assert!(kills >= 20 && suspensions > 0);
    check::whole(place, &faults.name, trials, pruner);
    faults.name
}

fn survives_and_is_read_by_optuna(place: &Place, pruner: &'static str) {
    let python = common::needed("KTG_OPTUNA_PYTHON", "a Python with optuna 5.0.0");
    let study = survives(place, pruner);
    check::by_optuna(&python, place, &study);
}

fn doubles(runs: &Path) -> Vec<String> {
    let entries = fs::read_dir(runs.join("doubles")).unwrap();
    entries.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
}

#[test]
fn asha_in_sqlite_survives_everything() {
    survives(&Place::sqlite(), "asha");
}

#[test]
fn promotion_in_sqlite_survives_everything() {
    survives(&Place::sqlite(), "promotion");
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

mod check {
    //! Whether a study is as if nothing had happened.

    use std::collections::{BTreeMap, HashMap, HashSet};
    use std::process::Command;

    use ktg_search::Genes;
    use ktg_search::storage::{State, Trial};
    use serde_json::json;

    use super::{Place, RETRIES, STEPS};
    use crate::common::stand_in::{space, value};

    /// The numbers of the trials that a trial repeats.
    fn history(trial: &Trial) -> Vec<i64> {
        trial.system.get("retry_history").map_or_else(Vec::new, |h| serde_json::from_value(h.clone()).unwrap())
    }

    pub fn whole(place: &Place, name: &str, limit: i64, pruner: &str) {
        let numbers = format!("SELECT number FROM trials WHERE study_id = {} ORDER BY trial_id", place.key(name));
        let numbers: Vec<i64> = place.rows(&numbers).concat().iter().map(|n| n.parse().unwrap()).collect();
        assert_eq!(numbers, (0..numbers.len() as i64).collect::<Vec<_>>());
        let mut study = place.study(name);
        let trials = study.trials().unwrap();
        assert_eq!(trials.len(), numbers.len());
        let retried: Vec<i64> = trials.iter().filter_map(|trial| history(trial).last().copied()).collect();
        let retried_once: HashSet<i64> = retried.iter().copied().collect();
        assert_eq!(retried.len(), retried_once.len(), "a trial was repeated twice");
        trials.iter().for_each(|trial| one(trial, &trials, &retried_once));

        let graphs = trials.iter().filter(|trial| trial.repeats().is_none()).map(|t| t.attributes["graph"].to_string());
        let graphs: Vec<String> = graphs.collect();
        assert_eq!(graphs.iter().collect::<HashSet<_>>().len(), graphs.len(), "a graph is there twice");
        assert_eq!(graphs.len() as i64, limit);
        let over = trials.iter().filter(|trial| !retried_once.contains(&trial.number));
        assert_eq!(over.count() as i64, limit);
        let mut rungs: HashMap<(u32, String), Vec<i64>> = HashMap::new();
        for rung in study.rungs(None).unwrap() {
            let graph = trials[rung.number as usize].attributes["graph"].to_string();
            rungs.entry((rung.rung, graph)).or_default().push(rung.number);
        }
        rungs.iter().for_each(|(key, trials)| assert_eq!(trials.len(), 1, "{key:?} has values of {trials:?}"));

        let best = trials.iter().filter(|t| t.state == State::Complete).filter_map(|t| t.value).max_by(f64::total_cmp);
        let summary = place.storage().studies().unwrap().into_iter().find(|study| study.name == name).unwrap();
        assert_eq!(summary.best, best);
        println!("{pruner}: {:?}, {} retries", summary.states, retried.len());
        assert!(best.is_some() && !retried.is_empty());
    }

    fn one(trial: &Trial, trials: &[Trial], retried: &HashSet<i64>) {
        let space = space(3, "");
        let context = format!("{trial:?}");
        let genes = space.genes(&trial.parameters).unwrap().into_iter().collect::<Option<Genes>>().expect(&context);
        let graph = space.graph(&genes);
        assert_eq!(trial.attributes["graph"], json!(graph.hash().to_string()), "{context}");
        let expected: BTreeMap<i64, f64> = trial.reports.keys().map(|step| (*step, value(&graph, *step))).collect();
        assert_eq!(trial.reports, expected, "{context}");
        let last = trial.last_report();
        match trial.state {
            State::Complete => {
                assert_eq!(last, Some((STEPS.into(), value(&graph, STEPS.into()))), "{context}");
                assert_eq!(trial.value, last.map(|(_, value)| value), "{context}");
            }
            State::Pruned => assert_eq!((trial.value, trial.rung() > 0), (last.map(|(_, v)| v), true), "{context}"),
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
            let before = &trials[number as usize];
            assert_eq!((before.state, &before.attributes["graph"]), (State::Fail, &trial.attributes["graph"]));
            assert!(before.number < trial.number);
        }
    }

    pub fn by_optuna(python: &str, place: &Place, name: &str) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/optuna/read_study.py");
        let url = place.text.replace("postgresql://", "postgresql+psycopg2://");
        let output = Command::new(python).args([script, &url, name]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        println!("{:.300}", String::from_utf8_lossy(&output.stdout));
    }
}
