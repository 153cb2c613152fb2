//! Whole studies, read.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value as Json;

use super::connection::{Answer, Connection, Row, Trouble};
use super::encoding::{State, choices, decode, json, number_from_json, parameter};
use super::{Goal, Storage, Study};
use crate::Error;
use crate::attributes::{FAILED_TRIAL, PAUSED, completed_rung};

/// A trial as the database has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// Its number in the study, from 0.
    pub number: i64,
    /// Key in the database.
    #[serde(skip)]
    pub id: i64,
    /// Its state.
    pub state: State,
    /// When a worker took it, in UTC.
    pub started: Option<String>,
    /// When it ended, in UTC.
    pub completed: Option<String>,
    /// The final value; of a pruned trial, the last one.
    pub value: Option<f64>,
    /// Parameters by name: a choice, or a number.
    pub parameters: BTreeMap<String, Json>,
    /// Reported values by step.
    pub reports: BTreeMap<i64, f64>,
    /// User attributes.
    pub attributes: BTreeMap<String, Json>,
    /// System attributes: values at rungs, retries, parameters that were enqueued.
    pub system: BTreeMap<String, Json>,
}

impl Trial {
    /// The last step and its value.
    pub fn last_report(&self) -> Option<(i64, f64)> {
        self.reports.last_key_value().map(|(step, value)| (*step, *value))
    }

    /// Whether it waits, as a running trial, for its continuation.
    pub fn is_paused(&self) -> bool {
        self.state == State::Running && self.attributes.contains_key(PAUSED)
    }

    /// The number of the trial that it repeats, because its worker died.
    pub fn repeats(&self) -> Option<i64> {
        self.system.get(FAILED_TRIAL)?.as_i64()
    }

    /// Its number; of a retry, that of the trial it repeats, by which pruners know it.
    pub fn first_number(&self) -> i64 {
        self.repeats().unwrap_or(self.number)
    }

    /// Whether one of these trials of the same study repeats it.
    pub fn is_repeated_among(&self, trials: &[Trial]) -> bool {
        trials.iter().any(|other| other.number > self.number && other.repeats() == Some(self.first_number()))
    }

    /// The number of rungs it has passed or been stopped at: its next one, counted from 0.
    pub fn rung(&self) -> u32 {
        (0..).find(|k| !self.system.contains_key(&completed_rung(*k))).unwrap_or(0)
    }

    /// Its value at a rung, if it got there. An infinite value is one like others, as for Optuna's pruners; NaN is none.
    pub fn rung_value(&self, rung: u32) -> Option<f64> {
        number_from_json(self.system.get(&completed_rung(rung))?)
    }
}

/// A parameter of a study and what there is to choose from.
#[derive(Clone, Debug, PartialEq)]
pub struct Choices {
    /// The parameter's name.
    pub parameter: String,
    /// What there is to choose from, in order; `None`: it is a number.
    pub choices: Option<Vec<Json>>,
}

/// A line about a study.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StudySummary {
    /// Its name.
    pub name: String,
    /// Its directions, one for each value.
    pub directions: Vec<String>,
    /// The number of trials in each state that occurs.
    pub states: BTreeMap<State, i64>,
    /// The best value of a complete trial; `None` in a study without one direction, too.
    pub best: Option<f64>,
}

impl Storage {
    /// All studies, by name.
    pub fn studies(&mut self) -> Result<Vec<StudySummary>, Error> {
        let names = "SELECT s.study_id, s.study_name, \
                     min(v.value), max(v.value) FROM studies s \
                     LEFT JOIN trials t ON t.study_id = s.study_id AND t.state = 'COMPLETE' \
                     LEFT JOIN trial_values v ON v.trial_id = t.trial_id GROUP BY s.study_id, s.study_name";
        let directions = "SELECT study_id, CAST(direction AS TEXT) FROM study_directions ORDER BY objective";
        let counts = "SELECT study_id, CAST(state AS TEXT), count(*) FROM trials GROUP BY study_id, state";
        let studies = self.run(|connection| {
            let mut studies: BTreeMap<i64, StudySummary> = BTreeMap::new();
            let mut extremes = BTreeMap::new();
            for row in connection.query(names, &[])? {
                let (id, name) = (row.int(0)?, row.text(1)?);
                extremes.insert(id, (row.real(2)?, row.real(3)?));
                studies.insert(id, StudySummary { name, directions: vec![], states: BTreeMap::new(), best: None });
            }
            for row in connection.query(directions, &[])? {
                let Some(study) = studies.get_mut(&row.int(0)?) else { continue };
                study.directions.push(row.text(1)?);
            }
            for row in connection.query(counts, &[])? {
                let Some(study) = studies.get_mut(&row.int(0)?) else { continue };
                study.states.insert(State::of(&row.text(1)?)?, row.int(2)?);
            }
            for (id, (smallest, largest)) in extremes {
                let Some(study) = studies.get_mut(&id) else { continue };
                study.best = match Goal::of(&study.directions) {
                    Some(Goal::Minimize) => smallest,
                    Some(Goal::Maximize) => largest,
                    None => None,
                };
            }
            Ok(studies)
        })?;
        let mut studies: Vec<StudySummary> = studies.into_values().collect();
        studies.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(studies)
    }
}

impl Study {
    /// All trials, by number.
    pub fn trials(&mut self) -> Result<Vec<Trial>, Error> {
        self.storage.run(|connection| read(connection, "t.study_id = $1", self.id))
    }

    /// What each parameter of its trials chooses from, in the order of the trials; a parameter with other choices in some
    /// trials is there again.
    pub fn choices(&mut self) -> Result<Vec<Choices>, Error> {
        let select = "SELECT p.param_name, p.distribution_json FROM trials t \
                      JOIN trial_params p ON p.trial_id = t.trial_id WHERE t.study_id = $1 \
                      GROUP BY p.param_name, p.distribution_json ORDER BY MIN(t.number), p.param_name";
        self.storage.run(|connection| {
            connection.all(select, &[self.id.into()], |row| {
                Ok(Choices { parameter: row.text(0)?, choices: choices(&row.text(1)?)? })
            })
        })
    }

    /// Key, state and, of paused ones, rung of the trials after that of key `after` and of `others`; it may be of more.
    pub fn progress(&mut self, after: i64, others: &[i64]) -> Result<Vec<(i64, State, Option<u32>)>, Error> {
        let which = match others {
            [] => format!("t.trial_id > {after}"),
            others if others.len() <= 200 => format!("(t.trial_id > {after} OR t.trial_id IN ({}))", list(others)),
            // All are as quickly read as a list of thousands.
            _ => "1 = 1".to_owned(),
        };
        let select = format!(
            "SELECT t.trial_id, CAST(t.state AS TEXT), a.value_json FROM trials t \
             LEFT JOIN trial_user_attributes a ON a.trial_id = t.trial_id AND a.\"key\" = $1 \
             WHERE t.study_id = $2 AND {which}"
        );
        self.storage.run(|connection| {
            connection.all(&select, &[PAUSED.into(), self.id.into()], |row| {
                let rung = row.optional_text(2)?.and_then(|rung| rung.parse().ok());
                Ok((row.int(0)?, State::of(&row.text(1)?)?, rung))
            })
        })
    }

    /// The trials of these keys, by number.
    pub fn trials_of(&mut self, ids: &[i64]) -> Result<Vec<Trial>, Error> {
        let mut trials = Vec::new();
        for ids in ids.chunks(500) {
            let condition = format!("t.study_id = $1 AND t.trial_id IN ({})", list(ids));
            trials.extend(self.storage.run(|connection| read(connection, &condition, self.id))?);
        }
        trials.sort_by_key(|trial| trial.number);
        Ok(trials)
    }

    /// One trial.
    pub fn trial(&mut self, id: i64) -> Result<Option<Trial>, Error> {
        Ok(self.storage.run(|connection| read(connection, "t.trial_id = $1", id))?.pop())
    }

    /// The number of trials that a worker has now: running, with a heartbeat.
    pub fn busy(&mut self) -> Result<i64, Error> {
        let select = "SELECT count(*) FROM trials t JOIN trial_heartbeats h ON h.trial_id = t.trial_id \
                      WHERE t.study_id = $1 AND t.state = 'RUNNING'";
        let count = self.storage.run(|connection| connection.first(select, &[self.id.into()], |row| row.int(0)))?;
        Ok(count.unwrap_or(0))
    }
}

/// Keys for `IN (...)`.
fn list(ids: &[i64]) -> String {
    ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
}

/// The trials that meet a condition on `trials t`, whose `$1` is `key`, in the order of their keys.
fn read(connection: &mut Connection, condition: &str, key: i64) -> Answer<Vec<Trial>> {
    let select = format!(
        "SELECT t.trial_id, t.number, CAST(t.state AS TEXT), CAST(t.datetime_start AS TEXT), \
         CAST(t.datetime_complete AS TEXT), v.value, CAST(v.value_type AS TEXT) \
         FROM trials t LEFT JOIN trial_values v ON v.trial_id = t.trial_id AND v.objective = 0 WHERE {condition}"
    );
    let mut trials: BTreeMap<i64, Trial> = BTreeMap::new();
    for row in connection.query(&select, &[key.into()])? {
        let trial = Trial {
            id: row.int(0)?,
            number: row.int(1)?,
            state: State::of(&row.text(2)?)?,
            started: row.optional_text(3)?,
            completed: row.optional_text(4)?,
            value: row.optional_text(6)?.map(|kind| decode(row.real(5)?, &kind)).transpose()?,
            parameters: BTreeMap::new(),
            reports: BTreeMap::new(),
            attributes: BTreeMap::new(),
            system: BTreeMap::new(),
        };
        trials.insert(trial.id, trial);
    }
    let mut each = |columns: &str, table: &str, add: &dyn Fn(&mut Trial, &Row) -> Answer<()>| {
        let select = format!(
            "SELECT x.trial_id, {columns} FROM trials t JOIN {table} x ON x.trial_id = t.trial_id WHERE {condition}"
        );
        for row in connection.query(&select, &[key.into()])? {
            if let Some(trial) = trials.get_mut(&row.int(0)?) {
                add(trial, &row)?;
            }
        }
        Ok::<(), Trouble>(())
    };
    each("x.param_name, x.param_value, x.distribution_json", "trial_params", &|trial, row| {
        let value = row.real(2)?.unwrap_or(f64::NAN);
        trial.parameters.insert(row.text(1)?, parameter(value, &row.text(3)?)?);
        Ok(())
    })?;
    let reports = "x.step, x.intermediate_value, CAST(x.intermediate_value_type AS TEXT)";
    each(reports, "trial_intermediate_values", &|trial, row| {
        trial.reports.insert(row.int(1)?, decode(row.real(2)?, &row.text(3)?)?);
        Ok(())
    })?;
    each("x.\"key\", x.value_json", "trial_user_attributes", &|trial, row| {
        trial.attributes.insert(row.text(1)?, json(&row.text(2)?));
        Ok(())
    })?;
    each("x.\"key\", x.value_json", "trial_system_attributes", &|trial, row| {
        trial.system.insert(row.text(1)?, json(&row.text(2)?));
        Ok(())
    })?;
    Ok(trials.into_values().collect())
}
