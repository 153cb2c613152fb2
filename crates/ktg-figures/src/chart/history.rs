//! What a search has seen.

use std::collections::BTreeMap;

use super::axis::Axis;
use super::drawable;
use super::plot::{Plot, empty_plot, note_style, ticks_height, ticks_width};
use crate::palette::{COMPLETE, ENSEMBLE, FAILED, INK, PRUNED, RUNNING};
use crate::svg::{Anchor, Area, Key, MARGIN, SMALL, Sheet, Stroke, Type, WIDTH, counted, number, width};

/// All trials of a study.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Above the chart, may be empty.
    pub title: String,
    /// The objective and its unit, such as "ensemble accuracy in %".
    pub y_title: String,
    /// In the order in which they ended.
    pub trials: Vec<Trial>,
}

/// One trial of [`History`].
#[derive(Debug, Clone, Copy)]
pub struct Trial {
    /// Its number in the study.
    pub number: u64,
    /// Its last value.
    pub value: Option<f64>,
    /// Epochs it was trained for.
    pub epochs: u64,
    /// What became of it.
    pub state: State,
}

/// What became of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Trained to the end.
    Complete,
    /// Stopped because others were better.
    Pruned,
    /// In progress.
    Running,
    /// Broken off.
    Failed,
}

impl State {
    /// From the one that may be covered to the one that must be seen.
    const ALL: [Self; 4] = [Self::Pruned, Self::Failed, Self::Running, Self::Complete];

    fn color(self) -> &'static str {
        match self {
            Self::Complete => COMPLETE,
            Self::Pruned => PRUNED,
            Self::Running => RUNNING,
            Self::Failed => FAILED,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Pruned => "pruned",
            Self::Running => "running",
            Self::Failed => "failed",
        }
    }

    fn key(self) -> Key {
        match self {
            Self::Failed => Key::Cross(self.color()),
            Self::Running => Key::Ring(self.color()),
            _ => Key::Dot(self.color()),
        }
    }
}

/// Up to so many trials each has a text that shows when pointed at; beyond, the picture would grow too large.
const MOST_TIPS: usize = 500;

/// Draws each trial's value at the cost of the whole search by then, and the best value so far.
pub fn history(figure: &History) -> String {
    let mut sheet = Sheet::new(WIDTH, &figure.title, "History of a search");
    let placed = placed(&figure.trials);
    let values = placed.iter().filter_map(|(_, trial)| trial.value);
    let total = placed.last().map_or(0.0, |(cost, _)| *cost);
    let x = Axis::around([0.0, total.max(1.0)], "epochs trained, all trials together", 6);
    let x = Axis { grid: false, ..x };
    let y = Axis::rounded(values.clone(), &figure.y_title, 5);
    let best = best(&placed);
    sheet.legend("", &legend(figure, best.last().copied()));
    let left = MARGIN + ticks_width(&y);
    let area = Area { left, top: sheet.top + 34.0, width: WIDTH - MARGIN - 14.0 - left, height: 280.0 };
    sheet.height = area.bottom() + ticks_height(&x) + MARGIN;
    if values.clone().next().is_none() {
        empty_plot(&mut sheet, area, "No trial has a value yet.");
        return sheet.finish();
    }
    if figure.trials.iter().any(|trial| trial.epochs > 1) {
        let style = note_style().anchored(Anchor::End);
        sheet.text(area.right(), area.top - 21.0, style, "larger: trained for more epochs");
    }
    let mut plot = Plot::new(&mut sheet, area, &x, &y);
    for state in State::ALL {
        let of_state = placed.iter().filter(|(_, trial)| trial.state == state);
        let points: Vec<(f64, f64, Trial)> =
            of_state.filter_map(|(cost, trial)| Some((*cost, trial.value?, *trial))).collect();
        let seldom = matches!(state, State::Failed | State::Running) && points.len() <= MOST_TIPS;
        if figure.trials.len() <= MOST_TIPS || seldom {
            points.iter().for_each(|(cost, value, trial)| draw_trial(&mut plot, *cost, *value, trial));
        } else {
            draw_crowd(&mut plot, &points, state);
        }
    }
    draw_best(&mut plot, &best, total);
    if let Some((cost, value)) = best.last() {
        let text = format!("best {}", number(*value, 2));
        let style = Type::new(SMALL, INK).bold().halo();
        // Left of the point where there is no room to the right of it.
        let fits = (1.0 - cost / x.to) * area.width > width(&text, SMALL, true) + 12.0;
        let (by, anchor) = if fits { (6.0, Anchor::Start) } else { (-6.0, Anchor::End) };
        let above = if y.to - value > 0.06 * y.span() { -12.0 } else { 14.0 };
        plot.text((*cost, *value), (by, above), style.anchored(anchor), &text);
    }
    sheet.finish()
}

/// The trials with the cost of the search by the end of each, and their values as far as they can be drawn.
fn placed(trials: &[Trial]) -> Vec<(f64, Trial)> {
    let mut cost = 0.0;
    let placed = trials.iter().map(|trial| {
        let after = cost + trial.epochs as f64;
        cost = if drawable(after) { after } else { cost };
        (cost, Trial { value: trial.value.filter(|value| drawable(*value)), ..*trial })
    });
    placed.collect()
}

/// Each better value of a complete trial with its cost.
fn best(placed: &[(f64, Trial)]) -> Vec<(f64, f64)> {
    let mut best: Vec<(f64, f64)> = Vec::new();
    for (cost, trial) in placed.iter().filter(|(_, trial)| trial.state == State::Complete) {
        let Some(value) = trial.value else { continue };
        if best.last().is_none_or(|(_, best)| value > *best) {
            best.push((*cost, value));
        }
    }
    best
}

fn draw_best(plot: &mut Plot, best: &[(f64, f64)], end: f64) {
    let mut steps: Vec<(f64, f64)> = Vec::new();
    for (cost, value) in best {
        if let Some((_, before)) = steps.last().copied() {
            steps.push((*cost, before));
        }
        steps.push((*cost, *value));
    }
    if let Some((_, last)) = steps.last().copied() {
        steps.push((end, last));
        plot.line(&steps, Stroke::new(ENSEMBLE, 1.8));
    }
}

/// How often one epoch was doubled, about.
fn doublings(epochs: u64) -> u32 {
    (epochs.max(1) as f64).log2().round() as u32
}

/// Every doubling of the epochs adds a little.
fn radius(doublings: u32) -> f64 {
    (1.7 + 0.42 * f64::from(doublings)).min(5.0)
}

fn draw_trial(plot: &mut Plot, cost: f64, value: f64, trial: &Trial) {
    let epochs = counted(usize::try_from(trial.epochs).unwrap_or(usize::MAX), "epoch");
    let tip = format!("trial {}: {} after {epochs}, {}", trial.number, number(value, 2), trial.state.name());
    plot.key((cost, value), trial.state.key(), radius(doublings(trial.epochs)) + 0.6, &tip);
}

/// Draws many trials of one state, the longest above.
fn draw_crowd(plot: &mut Plot, points: &[(f64, f64, Trial)], state: State) {
    let opacity = if state == State::Pruned { 0.45 } else { 0.9 };
    let mut by_doublings: BTreeMap<u32, Vec<(f64, f64)>> = BTreeMap::new();
    for (cost, value, trial) in points {
        by_doublings.entry(doublings(trial.epochs)).or_default().push((*cost, *value));
    }
    for (doublings, points) in by_doublings {
        plot.dots(&points, radius(doublings), state.color(), opacity);
    }
}

fn legend(figure: &History, best: Option<(f64, f64)>) -> Vec<(Key, String)> {
    let count = |state| figure.trials.iter().filter(|trial| trial.state == state).count();
    let states = State::ALL.into_iter().rev().filter(|state| count(*state) > 0);
    let entry = |state: State| (state.key(), format!("{} {}", number(count(state) as f64, 0), state.name()));
    let best = best.map(|_| (Key::Line(Stroke::new(ENSEMBLE, 1.8)), "best complete trial so far".to_owned()));
    states.map(entry).chain(best).collect()
}
