//! A whole study of another program, written at once.

use serde_json::Value as Json;

use super::connection::{Answer, Connection, Transaction, Trouble, Value};
use super::encoding::{categorical, encode};
use super::rows::PARAMETER_COLUMNS;
use super::study::{check_name, insert_study, study_error};
use super::{Storage, Trial};
use crate::Error;
use crate::parameter::Parameter;

impl Storage {
    /// Adds a study of accuracies with its user attributes and trials, which are over and have choices of `parameters`. All
    /// of it is there then, or nothing.
    ///
    /// # Errors
    /// If there is a study of this name, or a trial has what cannot be written.
    pub fn add_study(
        &mut self,
        name: &str,
        attributes: &[(&str, Json)],
        parameters: &[Parameter],
        trials: &[Trial],
    ) -> Result<(), Error> {
        check_name(name)?;
        let is_new = self.transaction(Transaction::Durable, |connection| {
            let Some(study) = insert_study(connection, name)? else { return Ok(false) };
            let row = |(key, value): &(&str, Json)| vec![study.into(), (*key).into(), text(value)];
            let rows: Vec<_> = attributes.iter().map(row).collect();
            connection.insert_rows("study_user_attributes", &["study_id", "\"key\"", "value_json"], &rows, "")?;
            for trial in trials {
                insert_trial(connection, study, parameters, trial)?;
            }
            Ok(true)
        })?;
        match is_new {
            true => Ok(()),
            false => Err(study_error(name, "there is a study of this name already; give another name")),
        }
    }
}

fn insert_trial(connection: &mut Connection, study: i64, parameters: &[Parameter], trial: &Trial) -> Answer<()> {
    let (number, state, now) = (trial.number, trial.state, connection.dialect().now);
    let started = trial.started.as_deref().map(time).transpose()?;
    let completed = trial.completed.as_deref().map(time).transpose()?;
    // A trial that is over has both times for every reader.
    let started = started.as_deref().unwrap_or(now);
    let completed = completed.as_deref().unwrap_or(started);
    let statement = format!(
        "INSERT INTO trials (number, study_id, state, datetime_start, datetime_complete) \
         VALUES ($1, $2, '{state}', {started}, {completed}) RETURNING trial_id"
    );
    let id = connection.first(&statement, &[number.into(), study.into()], |row| row.int(0))?;
    let id = Value::Int(id.ok_or_else(|| Trouble::Lasting(format!("trial {number} cannot be added")))?);

    let mut rows = Vec::new();
    for parameter in parameters {
        let Some(choice) = trial.parameters.get(&parameter.name) else { continue };
        let index = parameter.choices.iter().position(|known| choice.as_str() == Some(known));
        let index = index.ok_or_else(|| {
            Trouble::Lasting(format!("trial {number} has {choice} as `{}`, which is no choice of it", parameter.name))
        })?;
        let distribution = Value::Text(categorical(&parameter.choices));
        rows.push(vec![id.clone(), parameter.name.as_str().into(), Value::Real(index as f64), distribution]);
    }
    connection.insert_rows("trial_params", &PARAMETER_COLUMNS, &rows, "")?;

    let value = |(first, value): (Vec<Value>, f64)| {
        let (value, kind) = encode(value);
        [first, vec![value, kind.into()]].concat()
    };
    let rows: Vec<_> = trial.value.iter().map(|number| value((vec![id.clone(), 0.into()], *number))).collect();
    connection.insert_rows("trial_values", &["trial_id", "objective", "value", "value_type"], &rows, "")?;
    let reports = trial.reports.iter();
    let rows: Vec<_> = reports.map(|(step, number)| value((vec![id.clone(), (*step).into()], *number))).collect();
    let columns = ["trial_id", "step", "intermediate_value", "intermediate_value_type"];
    connection.insert_rows("trial_intermediate_values", &columns, &rows, "")?;

    for (table, attributes) in
        [("trial_user_attributes", &trial.attributes), ("trial_system_attributes", &trial.system)]
    {
        let row = |(key, value): (&String, &Json)| vec![id.clone(), key.as_str().into(), text(value)];
        let rows: Vec<_> = attributes.iter().map(row).collect();
        connection.insert_rows(table, &["trial_id", "\"key\"", "value_json"], &rows, "")?;
    }
    Ok(())
}

/// JSON, as a column has it.
fn text(json: &Json) -> Value {
    Value::Text(json.to_string())
}

/// A time that a database gave, `2026-01-31 12:00:00.123456`, as SQL that every database understands. Readers of SQLite
/// files count the digits of the fraction.
fn time(text: &str) -> Answer<String> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_like = |pattern: u8, letter: u8| if pattern == b'0' { letter.is_ascii_digit() } else { letter == pattern };
    let pattern = "0000-00-00 00:00:00";
    let is_time = seconds.len() == pattern.len()
        && pattern.bytes().zip(seconds.bytes()).all(|(pattern, letter)| is_like(pattern, letter))
        && fraction.bytes().all(|letter| letter.is_ascii_digit());
    match is_time {
        true => Ok(format!("'{seconds}.{fraction:0<6}'")),
        false => Err(Trouble::Lasting(format!("a trial has the time {text:?}, which is none; the study is damaged"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_become_whole_and_nothing_else_becomes_sql() {
        assert_eq!(time("2026-01-31 12:00:00").unwrap(), "'2026-01-31 12:00:00.000000'");
        assert_eq!(time("2026-01-31 12:00:00.25").unwrap(), "'2026-01-31 12:00:00.250000'");
        for text in
            ["", "now", "2026-01-31", "2026-01-31 12:00:00'; --", "2026-01-31 12:00:00.'1", "2026-01-31T12:00:00"]
        {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
