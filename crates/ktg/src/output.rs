//! Standard output: text tables, JSON, shell completions.

use std::fmt::Write as _;
use std::io::Write;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;
use serde::Serialize;

use crate::args::Args;
use crate::error::CliError;

/// Prints text and a line end; an error, not a panic, where nobody reads.
pub fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Says something on standard error; silence where nobody listens is no reason to stop.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints one line of JSON.
pub fn print_json(value: &impl Serialize) -> Result<(), CliError> {
    print(&serde_json::to_string(value).map_err(|e| CliError::Other(e.to_string()))?)
}

/// A text table: the first row is the head; columns after the first are right-aligned.
pub fn table(rows: &[Vec<String>]) -> String {
    aligned(rows, &[0])
}

/// A text table: the first row is the head; only the columns `left` are left-aligned.
pub fn aligned(rows: &[Vec<String>], left: &[usize]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |c: usize| rows.iter().map(|row| row[c].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let rule = widths.iter().map(|w| "-".repeat(*w)).collect::<Vec<_>>().join("  ");
    let mut text = String::new();
    for (i, row) in rows.iter().enumerate() {
        let cell = |(c, cell): (usize, &String)| {
            let padding = " ".repeat(widths[c] - cell.chars().count());
            if left.contains(&c) { format!("{cell}{padding}") } else { format!("{padding}{cell}") }
        };
        let line = row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ");
        let _ = writeln!(text, "{}", line.trim_end());
        if i == 0 {
            let _ = writeln!(text, "{rule}");
        }
    }
    text.trim_end().to_owned()
}

/// `ktg completions`.
pub fn completions(shell: Shell) -> Result<ExitCode, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "ktg", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    #[test]
    fn tables_are_aligned() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        let text = super::table(&[row("method", "%"), row("DML", "70.1 ± 0.2")]);
        assert_eq!(text, "method           %\n------  ----------\nDML     70.1 ± 0.2");
    }
}
