//! What the confirmation of a search found.

use ktg_figures::stats::{Interval, paired, summary};
use ktg_search::ObjectiveKind;
use ktg_search::confirmation::{self, Confirmation, Progress, Standing};
use ktg_search::storage::{StorageUrl, Study};

use crate::cells::LEVEL;

/// The confirmation of a search, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Confirmed {
    /// What is confirmed, and how often.
    pub confirmation: Confirmation,
    /// How far it is.
    pub progress: Progress,
}

impl Confirmed {
    /// The confirmation of the search `name` with this identity, if there is one.
    ///
    /// # Errors
    /// If the storage fails, or what it keeps cannot be understood.
    pub fn read(url: &StorageUrl, name: &str, identity: Option<&str>) -> Result<Option<Self>, ktg_search::Error> {
        // There is no such study.
        let Ok(mut found) = Study::open_to_read(url, &confirmation::study_name(name)) else { return Ok(None) };
        let Some(confirmation) = confirmation::read(&mut found)? else { return Ok(None) };
        if confirmation.identity.as_deref() != identity {
            // Of a study of this name that was deleted.
            return Ok(None);
        }
        let progress = confirmation.progress(&confirmation::results(&found.trials()?));
        Ok(Some(Self { confirmation, progress }))
    }

    /// The graph that won, if the confirmation is over and a graph could be trained.
    pub fn winner(&self) -> Option<&Standing> {
        let first = self.progress.standings.first().filter(|_| self.progress.missing.is_empty())?;
        (!first.numbers().is_empty()).then_some(first)
    }

    /// What is known of the graph of the search's trial of this number, if it has been trained again.
    pub fn standing(&self, trial: i64) -> Option<&Standing> {
        self.progress.standings.iter().find(|standing| standing.trial == trial && !standing.values.is_empty())
    }
}

/// A graph's mean, its interval and the number of seeds, in words: "51.30 % (95 % interval 50.20 to 52.40, 7 seeds)".
pub(crate) fn standing_in_words(standing: &Standing, objective: ObjectiveKind) -> String {
    let numbers = standing.numbers();
    let failed = standing.values.len() - numbers.len();
    let Some(summary) = summary(&numbers) else { return "no training succeeded".to_owned() };
    let seeds = match numbers.len() {
        1 => "1 seed".to_owned(),
        n => format!("{n} seeds"),
    };
    let mut text = format!("{} (", objective.in_words(summary.mean));
    if let Some(Interval { low, high }) = interval(&numbers) {
        // An NLL is minus the value.
        let mut ends = [objective.number_in_words(low), objective.number_in_words(high)];
        if objective == ObjectiveKind::Nll {
            ends.reverse();
        }
        text += &format!("95 % interval {} to {}, ", ends[0], ends[1]);
    }
    text += &seeds;
    if failed > 0 {
        text += &format!(", {failed} more failed");
    }
    text + ")"
}

/// Student's interval of the mean; `None` of fewer than two values.
fn interval(values: &[f64]) -> Option<Interval> {
    paired(values, &vec![0.0; values.len()], LEVEL).map(|found| found.interval)
}
