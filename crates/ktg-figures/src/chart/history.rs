//! What a search has seen.

use std::collections::BTreeMap;

use super::axis::Axis;
use super::drawable;
use super::plot::{Plot, empty_plots, next_area, ticks_width};
use crate::palette::{COMPLETE, ENSEMBLE, FAILED, INK, PRUNED, RUNNING, SOFT_INK};
use crate::svg::{Anchor, Key, MARGIN, SMALL, Sheet, Stroke, Type, WIDTH, counted, number, width};

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

    /// Its name, its color and what stands for it.
    fn look(self) -> (&'static str, &'static str, Key) {
        match self {
            Self::Complete => ("complete", COMPLETE, Key::Dot(COMPLETE)),
            Self::Pruned => ("pruned", PRUNED, Key::Dot(PRUNED)),
            Self::Running => ("running", RUNNING, Key::Ring(RUNNING)),
            Self::Failed => ("failed", FAILED, Key::Cross(FAILED)),
        }
    }
}

/// A trial with the cost of the search by its end and a value that can be drawn.
type Placed<'a> = (f64, f64, &'a Trial);

/// Up to so many trials each has a text that shows when pointed at; beyond, the picture would grow too large.
const MOST_TIPS: usize = 500;

/// Draws each trial's value at the cost of the whole search by then, and the best value so far.
pub fn history(figure: &History) -> String {
    let mut sheet = Sheet::new(WIDTH, &figure.title, "History of a search");
    let costs = costs(&figure.trials);
    let total = costs.last().copied().unwrap_or(0.0);
    let placed = figure.trials.iter().zip(&costs).filter_map(|(trial, cost)| {
        let value = trial.value.filter(|value| drawable(*value))?;
        Some((*cost, value, trial))
    });
    let placed: Vec<Placed> = placed.collect();
    let x = Axis::around([0.0, total.max(1.0)], "epochs trained, all trials together", 6);
    let x = Axis { grid: false, ..x };
    let y = Axis::rounded(placed.iter().map(|(_, value, _)| *value), &figure.y_title, 5);
    let best = best(&placed);
    sheet.legend("", &legend(figure, best.last().copied()));
    let sides = (MARGIN + ticks_width(&y), WIDTH - MARGIN - 14.0);
    let area = next_area(&mut sheet, &x, sides, 34.0, 280.0);
    if placed.is_empty() {
        return empty_plots(sheet, &[area], "No trial has a value yet.");
    }
    if figure.trials.iter().any(|trial| trial.epochs > 1) {
        let style = Type::new(SMALL, SOFT_INK).anchored(Anchor::End);
        sheet.text(area.x1, area.y0 - 21.0, style, "larger: trained for more epochs");
    }
    let mut plot = Plot::new(&mut sheet, area, &x, &y);
    for state in State::ALL {
        let points: Vec<Placed> = placed.iter().filter(|(.., trial)| trial.state == state).copied().collect();
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
        let fits = (1.0 - cost / x.to) * area.width() > width(&text, SMALL, true) + 12.0;
        let (by, anchor) = if fits { (6.0, Anchor::Start) } else { (-6.0, Anchor::End) };
        let above = if y.to - value > 0.06 * y.span() { -12.0 } else { 14.0 };
        plot.text((*cost, *value), (by, above), style.anchored(anchor), &text);
    }
    sheet.finish()
}

/// The cost of the search by the end of each trial.
fn costs(trials: &[Trial]) -> Vec<f64> {
    let mut cost = 0.0;
    let costs = trials.iter().map(|trial| {
        let after = cost + trial.epochs as f64;
        cost = if drawable(after) { after } else { cost };
        cost
    });
    costs.collect()
}

/// Each better value of a complete trial with its cost.
fn best(placed: &[Placed]) -> Vec<(f64, f64)> {
    let mut best: Vec<(f64, f64)> = Vec::new();
    for (cost, value, _) in placed.iter().filter(|(.., trial)| trial.state == State::Complete) {
        if best.last().is_none_or(|(_, best)| value > best) {
            best.push((*cost, *value));
        }
    }
    best
}

/// Each best value from its own cost to that of the next one.
fn draw_best(plot: &mut Plot, best: &[(f64, f64)], end: f64) {
    let ends = best.iter().skip(1).map(|(cost, _)| *cost).chain([end]);
    let steps = best.iter().zip(ends).flat_map(|((cost, value), end)| [(*cost, *value), (end, *value)]);
    plot.line(&steps.collect::<Vec<_>>(), Stroke::new(ENSEMBLE, 1.8));
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
    let (name, _, key) = trial.state.look();
    let tip = format!("trial {}: {} after {epochs}, {name}", trial.number, number(value, 2));
    plot.key((cost, value), key, radius(doublings(trial.epochs)) + 0.6, &tip);
}

/// Draws many trials of one state, the longest above.
fn draw_crowd(plot: &mut Plot, points: &[Placed], state: State) {
    let opacity = if state == State::Pruned { 0.45 } else { 0.9 };
    let (_, color, _) = state.look();
    let mut by_doublings: BTreeMap<u32, Vec<(f64, f64)>> = BTreeMap::new();
    for (cost, value, trial) in points {
        by_doublings.entry(doublings(trial.epochs)).or_default().push((*cost, *value));
    }
    for (doublings, points) in by_doublings {
        plot.dots(&points, radius(doublings), color, opacity);
    }
}

fn legend(figure: &History, best: Option<(f64, f64)>) -> Vec<(Key, String)> {
    let count = |state| figure.trials.iter().filter(|trial| trial.state == state).count();
    let states = State::ALL.into_iter().rev().filter(|state| count(*state) > 0);
    let entry = |state: State| {
        let (name, _, key) = state.look();
        (key, format!("{} {name}", number(count(state) as f64, 0)))
    };
    let best = best.map(|_| (Key::Line(Stroke::new(ENSEMBLE, 1.8)), "best complete trial so far".to_owned()));
    states.map(entry).chain(best).collect()
}
