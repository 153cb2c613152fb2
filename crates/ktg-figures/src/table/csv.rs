//! Tables for spreadsheets and data frames.

use super::cell::Content;
use super::{Cell, Column, Table};

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
    /// of remarks says why; it holds the footnotes too. Title and notes are left out.
    pub fn to_csv(&self) -> String {
        const IN_MEMORY: &str = "memory takes records of one length";
        let fields: Vec<Fields> = (0..self.columns.len()).map(|i| self.fields(i)).collect();
        let mut writer = csv::Writer::from_writer(Vec::new());
        let names = self.columns.iter().zip(&fields).flat_map(|(column, fields)| names(column, fields));
        writer.write_record(names).expect(IN_MEMORY);
        for cells in self.cells() {
            let values = cells.iter().zip(&fields).flat_map(|(cell, fields)| values_of(cell, fields));
            writer.write_record(values).expect(IN_MEMORY);
        }
        String::from_utf8(writer.into_inner().expect(IN_MEMORY)).expect("records are made of text")
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
