//! Estimates in words.

use std::time::Duration;

use ktg_train::{Estimate, Range};

use crate::progress::seconds;

/// "32 min 10 s (31 min 00 s to 34 min 05 s)".
pub fn time(range: Range) -> String {
    let [expected, low, high] = [range.expected, range.low, range.high].map(duration);
    if low == high { expected } else { format!("{expected} ({low} to {high})") }
}

/// Of a number of seconds: "0.0152 s", "3.2 s", "12 s", "3 min 20 s".
pub fn duration(value: f64) -> String {
    match value {
        value if value < 0.1 => format!("{value:.4} s"),
        value if value < 1.0 => format!("{value:.2} s"),
        value if value < 10.0 => format!("{value:.1} s"),
        value => seconds(Duration::try_from_secs_f64(value).unwrap_or(Duration::MAX)),
    }
}

/// "512 kB", "90.4 MB", "1.2 GB".
pub fn bytes(bytes: u64) -> String {
    match bytes as f64 {
        bytes if bytes < 1e6 => format!("{:.0} kB", bytes / 1e3),
        bytes if bytes < 1e9 => format!("{:.1} MB", bytes / 1e6),
        bytes => format!("{:.1} GB", bytes / 1e9),
    }
}

/// The line about memory.
pub fn memory(peak: Option<u64>) -> String {
    let words = peak.map_or_else(|| "unknown: this system does not tell".to_owned(), bytes);
    format!("memory    {words}")
}

/// The lines about the pace: steps and evaluations.
pub fn pace(estimate: &Estimate, images: usize) -> String {
    let Estimate { epochs, steps, step, evaluations, evaluation_images, evaluation_seconds, .. } = estimate;
    let times = if *evaluations == 1 { "once".to_owned() } else { format!("{evaluations} times") };
    format!(
        "steps     {steps} of {images} images in {epochs} epochs, {} each ({} measured, ± {})\n\
         judging   {times} {evaluation_images} images, {} each",
        duration(step.mean),
        step.count,
        duration(step.deviation),
        duration(*evaluation_seconds),
    )
}
