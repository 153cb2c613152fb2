//! Learning-rate schedules, as factors on the base learning rate.

use serde::{Deserialize, Serialize};

/// How the learning rate changes from epoch to epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// The same in all epochs.
    Constant {},
    /// Times `factor` at the start of each milestone epoch (counted from 0), as PyTorch's `MultiStepLR`.
    MultiStep {
        /// Epochs, as numbers or, if all are below 1, as shares of the training.
        milestones: Vec<f64>,
        /// Default: 0.1.
        #[serde(default = "tenth")]
        factor: f64,
    },
    /// Half a cosine from 1 towards 0 over all epochs, as PyTorch's `CosineAnnealingLR`.
    Cosine {},
}

fn tenth() -> f64 {
    0.1
}

impl Default for Schedule {
    /// The paper's: a tenth at half of the training and again at three quarters (epochs 150 and 225 of 300).
    fn default() -> Self {
        Schedule::MultiStep { milestones: vec![0.5, 0.75], factor: tenth() }
    }
}

impl Schedule {
    /// Checks every number's range.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Schedule::MultiStep { milestones, factor } = self else { return Ok(()) };
        let shares = milestones.iter().all(|&m| m < 1.0);
        let epochs = milestones.iter().all(|&m| m.fract() == 0.0);
        if !milestones.iter().all(|m| m.is_finite() && *m >= 0.0) || !(shares || epochs) {
            let rule = "`train.schedule.milestones` are whole epochs, or all shares of the training below 1";
            return Err(rule.to_owned());
        }
        if !(factor.is_finite() && *factor >= 0.0) {
            return Err("`train.schedule.factor` is a number from 0 up".to_owned());
        }
        Ok(())
    }

    /// Whether a longer training would have had other learning rates all along.
    pub(crate) fn depends_on_length(&self) -> bool {
        match self {
            Schedule::Constant {} => false,
            Schedule::MultiStep { milestones, .. } => milestones.iter().any(|&m| m.fract() != 0.0),
            Schedule::Cosine {} => true,
        }
    }

    /// Factor on the base learning rate in `epoch` (from 0) of `epochs`.
    fn factor(&self, epoch: usize, epochs: usize) -> f64 {
        match self {
            Schedule::Constant {} => 1.0,
            Schedule::MultiStep { milestones, factor } => {
                let shares = milestones.iter().all(|&m| m < 1.0);
                let unit = if shares { epochs as f64 } else { 1.0 };
                let passed = milestones.iter().filter(|&&m| epoch as f64 >= m * unit - 1e-9).count();
                factor.powi(passed as i32)
            }
            Schedule::Cosine {} => 0.5 * (1.0 + (std::f64::consts::PI * epoch as f64 / epochs as f64).cos()),
        }
    }
}

/// Where a training is: how much of it is done, counted from 0. It is the position of the step that comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Steps done.
    pub step: u64,
    /// Epochs done; the next step's epoch.
    pub epoch: usize,
    /// Steps done of that epoch.
    pub batch: usize,
}

/// How long a training is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    /// Epochs.
    pub epochs: usize,
    /// Steps an epoch, a batch each.
    pub batches: usize,
}

impl Length {
    /// Steps of the whole training.
    pub fn steps(&self) -> u64 {
        (self.epochs * self.batches) as u64
    }
}

/// Factor on the base learning rate at a step. In the first `warmup` epochs it rises linearly, from 1/S at the first of
/// their S steps to 1 at the last; the schedule counts its epochs from the start of the training all the same.
pub fn factor(schedule: &Schedule, warmup: usize, at: Position, length: Length) -> f64 {
    if at.epoch < warmup {
        let done = (at.epoch * length.batches + at.batch + 1) as f64;
        return done / (warmup * length.batches) as f64;
    }
    schedule.factor(at.epoch, length.epochs)
}
