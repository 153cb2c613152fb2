//! `ktg train --estimate`

use anyhow::Result;
use indicatif::MultiProgress;
use ktg_train::Estimate;

use super::words::{bytes, memory, pace, time};
use crate::args::TrainArgs;
use crate::output::{print, print_json, warn};
use crate::progress::Progress;
use crate::train::{open, read_settings};

pub fn run(args: &TrainArgs) -> Result<()> {
    let progress = Progress::among(&MultiProgress::new(), "estimate");
    let (settings, base) = read_settings(args.experiment.as_deref(), &args.settings)?;
    let experiment = open(settings, &base, args.images, &progress)?;
    warn(&experiment.warnings);
    let estimate = Estimate::measure(&experiment)?;
    if args.json {
        return print_json(&estimate);
    }
    let Estimate { seconds, disk_bytes, checkpoints, checkpoint_bytes, pretrained_bytes, .. } = estimate;
    print(&pace(&estimate, experiment.settings.train.images_per_step()))?;
    let most = if experiment.settings.train.patience.is_some() { ", if patience does not end it before" } else { "" };
    print(&format!("time      {}{most}", time(seconds)))?;
    print(&memory(estimate.peak_memory_bytes))?;
    let mut disk = format!(
        "disk      {}: {checkpoints} checkpoints of {}, and one more while it is written",
        bytes(disk_bytes),
        bytes(checkpoint_bytes)
    );
    if pretrained_bytes > 0 {
        disk += &format!("; {} of copies of pretrained weights", bytes(pretrained_bytes));
    }
    print(&disk)
}
