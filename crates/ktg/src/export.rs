//! Tables and figures as files.

use std::path::{Path, PathBuf};

use anyhow::Result;
use ktg_base::write_atomically;
use ktg_figures::png::png;
use ktg_figures::table::Table;

/// Pixels of a PNG for each of the SVG's.
pub const PIXELS: f32 = 2.0;

/// Writes a table in every format, as STEM.txt, STEM.md, STEM.csv and STEM.tex; returns how many files these are.
pub fn table(stem: &Path, table: &Table) -> Result<usize> {
    let formats =
        [("txt", table.to_text()), ("md", table.to_markdown()), ("csv", table.to_csv()), ("tex", table.to_latex())];
    for (ending, text) in &formats {
        write(stem, ending, text.as_bytes())?;
    }
    Ok(formats.len())
}

/// Writes a figure as STEM.svg and STEM.png; returns how many files these are.
pub fn figure(stem: &Path, svg: &str) -> Result<usize> {
    write(stem, "svg", svg.as_bytes())?;
    write(stem, "png", &png(svg, PIXELS)?)?;
    Ok(2)
}

fn write(stem: &Path, ending: &str, bytes: &[u8]) -> Result<()> {
    Ok(write_atomically(&with_ending(stem, ending), bytes)?)
}

/// STEM.ENDING: a name may have dots of its own, which no ending replaces.
pub fn with_ending(stem: &Path, ending: &str) -> PathBuf {
    let mut path = stem.as_os_str().to_owned();
    path.push(".");
    path.push(ending);
    path.into()
}

/// What a file's name ends in, without the dot.
pub fn ending(path: &Path) -> &str {
    path.extension().and_then(|ending| ending.to_str()).unwrap_or("")
}
