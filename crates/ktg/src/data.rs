//! `ktg data`

use std::collections::HashSet;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Result, anyhow, bail};
use ktg_base::write_atomically;
use ktg_data::{BadImage, DataSource, Dataset, Duplicate, Inspection, SplitFile, Splits};
use ktg_train::Settings;
use serde::Serialize;
use serde_json::json;

use crate::args::{DataArgs, DataCommand, SettingFlags};
use crate::output::{note, print, print_json, table, warn};
use crate::progress::{bar, seconds};
use crate::signals;
use crate::train::{left_out, read_settings};

pub fn run(command: &DataCommand) -> Result<ExitCode> {
    match command {
        DataCommand::Info { data, json } => {
            let (settings, splits) = open(data)?;
            let summary = Summary::of(&settings.data, &splits);
            if *json {
                print_json(&summary)?
            } else {
                print(&summary.text())?
            }
            Ok(ExitCode::SUCCESS)
        }
        DataCommand::Check { data, skip_list, json } => {
            let (settings, splits) = open(data)?;
            check(&settings, &splits, skip_list.as_deref(), *json)
        }
        DataCommand::Split { data, out, read, share, split_seed } => {
            let (settings, splits) = open(data)?;
            let file = match (out, read) {
                (Some(out), _) => {
                    let share = share.unwrap_or(settings.split.search_share);
                    if !(share > 0.0 && share < 1.0) {
                        bail!("--share {share}: it must be above 0 and below 1");
                    }
                    let split = SplitFile::new(&splits.train, share, split_seed.unwrap_or(settings.split.seed));
                    let (first, second) = split.apply(&splits.train, out, &splits.skipped)?;
                    if first.is_empty() || second.is_empty() {
                        let (all, classes) = (splits.train.len(), splits.train.classes());
                        let part = if first.is_empty() { "to train on" } else { "to judge by" };
                        bail!(
                            "of {all} training images of {classes} classes, a share of {share} leaves none {part}; give \
                             another --share, or more images a class"
                        );
                    }
                    split.write(out)?;
                    out
                }
                (None, Some(read)) => read,
                (None, None) => bail!("give a file with --out or --read"),
            };
            print(&describe_split(&SplitFile::read(file)?, &splits, file)?)?;
            Ok(ExitCode::SUCCESS)
        }
        DataCommand::Pack { data, out, short_side, skip_bad } => {
            let (settings, mut splits) = open(data)?;
            if *skip_bad {
                let bad = bad_images(&splits);
                left_out(&bad, note);
                splits = splits.without(&names(&bad))?;
            }
            pack(settings.data.kind.name(), &splits, out, short_side.map(usize::from))
        }
    }
}

fn open(args: &DataArgs) -> Result<(Settings, Splits)> {
    let source = args.source.iter().map(|name| format!("data.source={name}"));
    let set = args.set.iter().cloned().chain(source).collect();
    let flags = SettingFlags { set, ..SettingFlags::default() };
    let (mut settings, base) = read_settings(args.experiment.as_deref(), &flags)?;
    if let Some(root) = &args.root {
        // A path on the command line starts where the user is, not where the experiment file is.
        let here = std::path::absolute(root).map_err(|e| anyhow!("--root {}: {e}", root.display()))?;
        let source = settings.data.kind.name();
        let Some(("root", place)) = settings.data.kind.place_mut() else {
            bail!(
                "--root {}: the data source \"{source}\" lies in no folder; name another one with --source",
                root.display()
            );
        };
        *place = Some(here);
    }
    let splits = settings.data.open(&base)?;
    warn(&splits.warnings);
    if !splits.skipped.is_empty() {
        note(&format!("{} images are left out, as `data.skip` says", splits.skipped.len()));
    }
    Ok((settings, splits))
}

/// Works under a bar that is told how many images of how many are done.
fn under_bar<T>(what: &'static str, work: impl FnOnce(&(dyn Fn(usize, usize) + Sync)) -> T) -> T {
    let bar = bar("{prefix} {bar:24} {pos}/{len} images · {eta} left").with_prefix(what);
    let result = work(&|done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    result
}

fn bad_images(splits: &Splits) -> Vec<BadImage> {
    // What is decoded here is not looked at again.
    splits.train.set_cache_limit(0);
    under_bar("check", |progress| splits.bad_images(0, progress))
}

fn names(bad: &[BadImage]) -> Vec<String> {
    bad.iter().map(|image| image.name.clone()).collect()
}

fn check(settings: &Settings, splits: &Splits, skip_list: Option<&Path>, json: bool) -> Result<ExitCode> {
    let started = Instant::now();
    // What is decoded here is not looked at again.
    splits.train.set_cache_limit(0);
    let inspected = under_bar("check", |progress| splits.inspect(0, progress));
    let Inspection { bad, damaged, duplicates, mean, std } = inspected;
    if let Some(path) = skip_list {
        // With those that are left out already, so that a list can be brought up to date.
        let text: String = splits.skipped.iter().cloned().chain(names(&bad)).map(|name| name + "\n").collect();
        write_atomically(path, text.as_bytes())?;
    }
    let mut summary = Summary::of(&settings.data, splits);
    summary.add_bad(&bad, splits);
    if json {
        let duplicate = |Duplicate { first, second }: &Duplicate| json!([first, second]);
        let duplicates: Vec<_> = duplicates.iter().map(duplicate).collect();
        print_json(&Checked { summary, damaged, duplicates, mean, std })?;
    } else {
        print(&summary.per_class())?;
        print("")?;
        print(&summary.text())?;
        if settings.augment.normalize.is_none() && settings.augment.mean.is_none() {
            print(&normalization(&mean, &std))?;
        }
        for image in &bad {
            print(&format!("bad: {}", image.problem))?;
        }
        for image in &damaged {
            print(&format!("damaged: {}", image.problem))?;
        }
        say_duplicates(&duplicates)?;
        let all: usize = splits.named().map(|(_, part)| part.len()).sum();
        let time = seconds(started.elapsed());
        let advice = match skip_list {
            Some(path) => format!("their names are in {}, for `skip` in the table [data]", path.display()),
            None => "repair or remove them, or see --skip-list".to_owned(),
        };
        print(&match bad.len() {
            0 if !damaged.is_empty() => {
                format!("all {all} images can be used ({time}), but {} are damaged: look at them", damaged.len())
            }
            0 => format!("all {all} images can be used ({time})"),
            n => format!("{n} of {all} images cannot be used ({time}); {advice}"),
        })?;
    }
    Ok(if bad.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The lines of an experiment file that normalize images as the training images are; nothing if all of those are bad.
fn normalization(mean: &[f64], std: &[f64]) -> String {
    if mean.iter().any(|value| value.is_nan()) {
        return String::new();
    }
    let list = |values: &[f64]| values.iter().map(|value| format!("{value:.4}")).collect::<Vec<_>>().join(", ");
    format!(
        "\nto normalize with the training images' own mean and standard deviation:\n[augment]\nmean = [{}]\nstd = [{}]\n",
        list(mean),
        list(std)
    )
}

fn say_duplicates(duplicates: &[Duplicate]) -> Result<()> {
    const SHOWN: usize = 10;
    for Duplicate { first, second } in duplicates.iter().take(SHOWN) {
        print(&format!("twice: {} image {} is {} image {}", second.0, second.1, first.0, first.1))?;
    }
    if duplicates.is_empty() {
        return Ok(());
    }
    let more = duplicates.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" ({more} more than shown; --json has all)") } else { String::new() };
    let count =
        if duplicates.len() == 1 { "1 image is".to_owned() } else { format!("{} images are", duplicates.len()) };
    print(&format!("{count} in two parts{more}: what the networks know of them says nothing about others"))
}

fn describe_split(split: &SplitFile, splits: &Splits, file: &Path) -> Result<String> {
    let (first, second) = split.apply(&splits.train, file, &splits.skipped)?;
    let least = |part: &Dataset| part.class_counts().into_iter().min().unwrap_or(0);
    Ok(format!(
        "{}: of {} training images, {} to train on (at least {} a class), {} to judge by (at least {} a class); share \
         {}, seed {}",
        file.display(),
        splits.train.len(),
        first.len(),
        least(&first),
        second.len(),
        least(&second),
        split.share,
        split.seed
    ))
}

fn pack(source: &str, splits: &Splits, out: &Path, short_side: Option<usize>) -> Result<ExitCode> {
    splits.train.set_cache_limit(0);
    let started = Instant::now();
    let stop = signals::stop_flag()?;
    let written = under_bar("pack", |progress| {
        let progress = |done, all| {
            progress(done, all);
            !stop.load(Ordering::Relaxed)
        };
        ktg_data::pack(splits, source, short_side, out, 0, &progress)
    });
    if stop.load(Ordering::Relaxed) && written.is_err() {
        return Ok(signals::interrupted(&format!("stopped; {} is not written", out.display())));
    }
    let written = written?;
    let file = std::path::absolute(out).unwrap_or_else(|_| out.to_owned());
    print(&format!(
        "{} images in {} ({:.1} MB, {}); use it with [data] source = \"pack\", file = \"{}\"",
        written.images,
        out.display(),
        written.bytes as f64 / 1e6,
        seconds(started.elapsed()),
        file.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// What `info` and `check` say of some data.
#[derive(Serialize)]
struct Summary {
    source: &'static str,
    classes: usize,
    channels: usize,
    splits: Vec<Part>,
    warnings: Vec<String>,
    /// Names of the images that are left out.
    skipped: Vec<String>,
    /// What a pack was made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    #[serde(skip)]
    help: &'static str,
    #[serde(skip)]
    class_names: Vec<String>,
}

/// What `check` says besides.
#[derive(Serialize)]
struct Checked {
    #[serde(flatten)]
    summary: Summary,
    /// Images that are used although a part of the picture is missing.
    damaged: Vec<BadImage>,
    /// Pairs of part and name: images that are in two parts.
    duplicates: Vec<serde_json::Value>,
    /// Of the training images, one a channel; NaN (`null`) if none can be used.
    mean: Vec<f64>,
    std: Vec<f64>,
}

#[derive(Serialize)]
struct Part {
    name: &'static str,
    images: usize,
    /// Images of each class, by its name; the same order everywhere.
    per_class: serde_json::Map<String, serde_json::Value>,
    /// Images that cannot be used; only where somebody looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    bad: Option<Vec<BadImage>>,
    #[serde(skip)]
    counts: Vec<usize>,
}

impl Summary {
    fn of(source: &DataSource, splits: &Splits) -> Self {
        let class_names = splits.train.class_names().to_vec();
        let part = |(name, dataset): (&'static str, &Dataset)| {
            let counts = dataset.class_counts();
            let per_class = class_names.iter().cloned().zip(counts.iter().map(|&n| n.into())).collect();
            Part { name, images: dataset.len(), per_class, bad: None, counts }
        };
        Self {
            source: source.kind.name(),
            help: source.kind.help(),
            classes: class_names.len(),
            channels: splits.train.channels(),
            splits: splits.named().map(part).collect(),
            warnings: splits.warnings.clone(),
            skipped: splits.skipped.clone(),
            origin: splits.origin.clone(),
            class_names,
        }
    }

    fn add_bad(&mut self, bad: &[BadImage], splits: &Splits) {
        for (part, (_, dataset)) in self.splits.iter_mut().zip(splits.named()) {
            let names: HashSet<_> = (0..dataset.len()).map(|i| dataset.short_name(i)).collect();
            let own = bad.iter().filter(|image| names.contains(&image.name));
            part.bad = Some(own.cloned().collect());
        }
    }

    fn text(&self) -> String {
        let colours = if self.channels == 1 { "grey" } else { "colour" };
        let help = self.origin.as_deref().unwrap_or(self.help);
        let mut text = format!("{} ({help})\n{} classes, {colours}", self.source, self.classes);
        for Part { name, images, counts, .. } in &self.splits {
            let (least, most) = (counts.iter().min().unwrap_or(&0), counts.iter().max().unwrap_or(&0));
            text += &format!("\n{name:<6}{images:>7} images, {least} to {most} a class");
        }
        text
    }

    fn per_class(&self) -> String {
        let head = std::iter::once("class").chain(self.splits.iter().map(|part| part.name));
        let row = |(i, name): (usize, &String)| {
            std::iter::once(name.clone()).chain(self.splits.iter().map(move |part| part.counts[i].to_string()))
        };
        table(head, self.class_names.iter().enumerate().map(row))
    }
}
