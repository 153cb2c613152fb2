//! Standard output: text tables, JSON, shell completions.

use std::io::Write;

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;
use ktg_figures::table::{Cell, Column, Table};
use serde::Serialize;

use crate::args::Args;

/// Prints text and a line end; an error, not a panic, where nobody reads.
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Says something on standard error; silence where nobody listens is no reason to stop.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints one line of JSON.
pub fn print_json(value: &impl Serialize) -> Result<()> {
    print(&serde_json::to_string(value)?)
}

/// Says what is odd on standard error.
pub fn warn(warnings: &[String]) {
    for warning in warnings {
        note(&format!("warning: {warning}"));
    }
}

/// A number with so many digits behind the point, or "-" where there is none.
pub fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.decimals$}"))
}

/// A text table; columns after the first are right-aligned.
pub fn table<'a>(
    head: impl IntoIterator<Item = &'a str>,
    rows: impl IntoIterator<Item = impl IntoIterator<Item = String>>,
) -> String {
    aligned(&[0], head, rows)
}

/// A text table; only the columns `left` are left-aligned.
pub fn aligned<'a>(
    left: &[usize],
    head: impl IntoIterator<Item = &'a str>,
    rows: impl IntoIterator<Item = impl IntoIterator<Item = String>>,
) -> String {
    let column = |(i, heading)| if left.contains(&i) { Column::left(heading) } else { Column::right(heading) };
    let mut table = Table::new("", head.into_iter().enumerate().map(column));
    for row in rows {
        table.row(row.into_iter().map(Cell::text));
    }
    table.to_text().trim_end().to_owned()
}

/// `ktg completions`.
pub fn completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "ktg", &mut script);
    Ok(std::io::stdout().lock().write_all(&script)?)
}
