//! Standard output: text tables, JSON, shell completions.

use std::io::Write;
use std::process::ExitCode;

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

/// A text table: the first row is the head; columns after the first are right-aligned.
pub fn table(rows: &[Vec<String>]) -> String {
    aligned(rows, &[0])
}

/// A text table: the first row is the head; only the columns `left` are left-aligned.
pub fn aligned(rows: &[Vec<String>], left: &[usize]) -> String {
    let Some((head, rows)) = rows.split_first() else { return String::new() };
    let column = |(c, heading): (usize, &String)| match left.contains(&c) {
        true => Column::left(heading),
        false => Column::right(heading),
    };
    let mut table = Table::new("", head.iter().enumerate().map(column));
    for row in rows {
        table.row(row.iter().map(Cell::text));
    }
    table.to_text().trim_end().to_owned()
}

/// `ktg completions`.
pub fn completions(shell: Shell) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "ktg", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
