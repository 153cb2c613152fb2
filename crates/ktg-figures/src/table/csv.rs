//! Tables for spreadsheets and data frames.

use super::cell::Content;
use super::{Cell, Column, Row, Table, clean};

/// What pandas and R read as "no value".
const NONE: &str = "NA";

/// Which fields a column becomes.
struct Fields {
    /// Mean, standard deviation and number of runs in place of one value.
    mean: bool,
    /// Reasons and footnotes.
    remark: bool,
}

impl Table {
    /// The table as RFC 4180 has it, with numbers in full precision.
    ///
    /// A column of means becomes three: mean, sd and n. What is missing is `NA` (as pandas and R read it), and a column
    /// of remarks says why; it holds the footnotes too. Rows that stand under a heading of their own carry it in a first
    /// column named `group`. Title and notes are left out.
    pub fn to_csv(&self) -> String {
        let fields: Vec<Fields> = (0..self.columns.len()).map(|i| self.fields(i)).collect();
        let grouped = self.rows.iter().any(|row| matches!(row, Row::Group(_)));
        let mut header: Vec<String> = if grouped { vec!["group".to_owned()] } else { Vec::new() };
        header.extend(self.columns.iter().zip(&fields).flat_map(|(column, fields)| names(column, fields)));
        let mut text = record(&header);
        let mut group = String::new();
        for row in &self.rows {
            match row {
                Row::Group(heading) => group = clean(heading),
                Row::Rule => (),
                Row::Cells(cells) => {
                    let mut values = if grouped { vec![group.clone()] } else { Vec::new() };
                    values.extend(cells.iter().zip(&fields).flat_map(|(cell, fields)| values_of(cell, fields)));
                    text += &record(&values);
                }
            }
        }
        text
    }

    fn fields(&self, column: usize) -> Fields {
        let any = |test: &dyn Fn(&Cell) -> bool| self.cells().any(|cells| test(&cells[column]));
        Fields {
            mean: any(&|cell| matches!(cell.content, Content::Mean { .. })),
            remark: any(&|cell| cell.footnote.is_some() || cell.reason().is_some()),
        }
    }
}

fn names(column: &Column, fields: &Fields) -> Vec<String> {
    let name = column.name();
    let with = |word: &str| format!("{name} {word}").trim().to_owned();
    let mut names = if fields.mean { vec![with("mean"), with("sd"), with("n")] } else { vec![name.clone()] };
    if fields.remark {
        names.push(with("remark"));
    }
    names
}

fn values_of(cell: &Cell, fields: &Fields) -> Vec<String> {
    let none = || NONE.to_owned();
    let mut values = match &cell.content {
        Content::Text(text) => vec![text.clone()],
        Content::Number { value, .. } => vec![value.to_string()],
        Content::Mean { mean, sd, n, .. } => {
            vec![mean.to_string(), sd.map_or_else(none, |sd| sd.to_string()), n.to_string()]
        }
        Content::Missing(_) => vec![none()],
    };
    values.resize_with(if fields.mean { 3 } else { 1 }, none);
    if fields.remark {
        let remarks: Vec<String> = cell.reason().into_iter().chain(cell.footnote.clone()).collect();
        values.push(remarks.join("; "));
    }
    values
}

fn record(fields: &[String]) -> String {
    // A record of one empty field must not look like an empty line, which readers skip.
    let alone = fields.len() == 1;
    fields.iter().map(|field| quoted(field, alone)).collect::<Vec<_>>().join(",") + "\n"
}

fn quoted(field: &str, alone: bool) -> String {
    let special = field.contains([',', '"', '\n', '\r']) || field.starts_with(' ') || field.ends_with(' ');
    if special || (alone && field.is_empty()) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}
