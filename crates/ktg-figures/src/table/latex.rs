//! Tables for papers.

use super::cell::Content;
use super::{Align, Cell, Row, Table, letter};
use crate::clean::clean;

impl Table {
    /// The table for LaTeX with the package `booktabs`.
    pub fn to_latex(&self) -> String {
        let footnotes = self.footnotes();
        // A tabular without any column does not compile.
        let aligns = self.columns.iter().map(|column| if column.align == Align::Left { 'l' } else { 'r' });
        let aligns = if self.columns.is_empty() { "l".to_owned() } else { aligns.collect() };
        let groups = if self.has_groups_of_columns() { self.headings_of_groups() } else { String::new() };
        let headings = line(self.columns.iter().map(|column| escaped(&column.heading)));
        let widest: Vec<Option<String>> = (0..self.columns.len()).map(|i| self.longest_sd(i)).collect();
        let rows = self.rows.iter().map(|row| match row {
            Row::Rule => "    \\midrule\n".to_owned(),
            Row::Cells(cells) => {
                let cells = cells.iter().zip(&self.columns).zip(&widest);
                line(cells.map(|((cell, column), sd)| latex(cell, column.align, sd.as_deref(), &footnotes)))
            }
        });
        let rows: String = rows.collect();
        let mut notes = Vec::new();
        if self.has_emphasis() {
            notes.push(format!("Bold: {}.", escaped(&self.emphasis)));
        }
        let footnotes = footnotes.iter().enumerate();
        notes.extend(footnotes.map(|(i, note)| format!("\\textsuperscript{{{}}} {}", letter(i), escaped(note))));
        notes.extend(self.notes.iter().map(|note| escaped(note)));
        let mut notes = notes.join("\\par\n   ");
        if !notes.is_empty() {
            notes = format!("  \\par\\medskip\n  {{\\footnotesize\\raggedright\n   {notes}\\par}}\n");
        }
        let title = escaped(&self.title);
        format!(
            r"% Needs \usepackage{{booktabs}}.
\begin{{table}}
  \centering
  \caption{{{title}}}
  \begin{{tabular}}{{{aligns}}}
    \toprule
{groups}{headings}    \midrule
{rows}    \bottomrule
  \end{{tabular}}
{notes}\end{{table}}
"
        )
    }

    /// The headings over groups of columns, and the rules below them.
    fn headings_of_groups(&self) -> String {
        let spans = self.spans();
        let headings = spans.iter().flat_map(|(group, _, length)| match group {
            Some(group) => vec![format!("\\multicolumn{{{length}}}{{c}}{{{}}}", escaped(group))],
            None => vec![String::new(); *length],
        });
        let ruled = spans.iter().filter(|(group, ..)| group.is_some());
        let rules = ruled.map(|(_, first, length)| format!("\\cmidrule(lr){{{}-{}}}", first + 1, first + length));
        format!("{}    {}\n", line(headings), rules.collect::<Vec<_>>().join(" "))
    }
}

fn line(cells: impl Iterator<Item = String>) -> String {
    format!("    {} \\\\\n", cells.collect::<Vec<_>>().join(" & "))
}

fn latex(cell: &Cell, align: Align, widest_sd: Option<&str>, footnotes: &[&str]) -> String {
    let (words, sd) = cell.words();
    let mut text = match &cell.content {
        Content::Text(_) => escaped(&words),
        Content::Missing(_) => format!("\\emph{{{}}}", escaped(&words)),
        Content::Number { .. } | Content::Mean { .. } => {
            let mut formula = mathematics(&words);
            if cell.emphasized {
                formula = format!("\\mathbf{{{formula}}}");
            }
            match (sd, widest_sd) {
                (Some(sd), _) => formula += &format!(" \\pm {}", mathematics(&sd)),
                (None, Some(sd)) => formula += &format!("\\phantom{{{{}}\\pm {}}}", mathematics(sd)),
                (None, None) => (),
            }
            format!("${formula}$")
        }
    };
    if cell.emphasized && !cell.is_number() {
        text = format!("\\textbf{{{text}}}");
    }
    match Table::letter(cell, footnotes) {
        // Takes no room, so that the numbers above and below stay in line.
        Some(letter) if align == Align::Right => format!("{text}\\rlap{{\\textsuperscript{{{letter}}}}}"),
        Some(letter) => format!("{text}\\textsuperscript{{{letter}}}"),
        None => text,
    }
}

/// A number inside a formula.
fn mathematics(number: &str) -> String {
    number.replace('∞', "\\infty").replace("NaN", "\\mathrm{NaN}")
}

/// Text in which nothing is a sign of LaTeX.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            '{' | '}' | '$' | '&' | '#' | '%' | '_' => escaped.extend(['\\', c]),
            '\\' => escaped += "\\textbackslash{}",
            '^' => escaped += "\\textasciicircum{}",
            '~' => escaped += "\\textasciitilde{}",
            '`' => escaped += "\\textasciigrave{}",
            '<' => escaped += "\\textless{}",
            '>' => escaped += "\\textgreater{}",
            '|' => escaped += "\\textbar{}",
            // After the end of a row these would be an option of `\\`.
            '[' | ']' | '*' => escaped.extend(['{', c, '}']),
            // Two of them would become a dash or a quotation mark.
            '-' | '\'' | ',' | '!' | '?' if escaped.ends_with(c) => escaped.extend(['{', '}', c]),
            '±' => escaped += "$\\pm$",
            '×' => escaped += "$\\times$",
            '−' => escaped += "$-$",
            '→' => escaped += "$\\rightarrow$",
            '≤' => escaped += "$\\leq$",
            '≥' => escaped += "$\\geq$",
            '≈' => escaped += "$\\approx$",
            '\u{fffd}' => escaped.push('?'),
            c => escaped.push(c),
        }
    }
    escaped
}
