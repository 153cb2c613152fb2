//! Tables of results, for terminals, GitHub, spreadsheets, papers and pages.
//!
//! All formats say the same: a value that is missing is named as missing in each of them.

mod cell;
mod csv;
mod html;
mod latex;
mod markdown;
mod text;

use crate::clean::clean;

pub use cell::Cell;
pub(crate) use html::save;

/// On which side of its column a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// For words.
    Left,
    /// For numbers.
    Right,
}

/// What a column is called, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Above its cells.
    pub heading: String,
    /// Where its cells and its heading stand.
    pub align: Align,
    /// A heading that it shares with the neighbors that name the same one.
    pub group: Option<String>,
}

impl Column {
    /// A column of words.
    pub fn left(heading: impl Into<String>) -> Self {
        Column { heading: heading.into(), align: Align::Left, group: None }
    }

    /// A column of numbers.
    pub fn right(heading: impl Into<String>) -> Self {
        Column { heading: heading.into(), align: Align::Right, group: None }
    }

    /// The same under a heading that spans all neighbors with the same `group`.
    pub fn under(self, group: impl Into<String>) -> Self {
        Column { group: Some(group.into()), ..self }
    }

    /// Its full name where headings cannot span columns.
    fn name(&self) -> String {
        match &self.group {
            Some(group) if self.heading.is_empty() => clean(group),
            Some(group) => format!("{}: {}", clean(group), clean(&self.heading)),
            None => clean(&self.heading),
        }
    }
}

/// One line of a table's body.
#[derive(Debug, Clone, PartialEq)]
enum Row {
    /// One cell for every column.
    Cells(Vec<Cell>),
    /// A line between rows.
    Rule,
}

/// A table: a title, columns, rows and notes.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    title: String,
    columns: Vec<Column>,
    rows: Vec<Row>,
    notes: Vec<String>,
    emphasis: String,
}

impl Table {
    /// A table without rows.
    pub fn new(title: impl Into<String>, columns: impl IntoIterator<Item = Column>) -> Self {
        Table {
            title: title.into(),
            columns: columns.into_iter().collect(),
            rows: Vec::new(),
            notes: Vec::new(),
            emphasis: "best in its column".to_owned(),
        }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If there is not exactly one cell for every column: then numbers would stand under the wrong headings.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) -> &mut Self {
        let cells: Vec<Cell> = cells.into_iter().collect();
        assert_eq!(cells.len(), self.columns.len(), "cells in a row of the table \"{}\"", self.title);
        self.rows.push(Row::Cells(cells));
        self
    }

    /// Adds a line between the rows before and those that follow.
    pub fn rule(&mut self) -> &mut Self {
        self.rows.push(Row::Rule);
        self
    }

    /// Adds a note below the table.
    pub fn note(&mut self, note: impl Into<String>) -> &mut Self {
        self.notes.push(note.into());
        self
    }

    /// Says what emphasis means in this table; without this, "best in its column".
    pub fn emphasis(&mut self, meaning: impl Into<String>) -> &mut Self {
        self.emphasis = meaning.into();
        self
    }

    fn cells(&self) -> impl Iterator<Item = &[Cell]> {
        self.rows.iter().filter_map(|row| match row {
            Row::Cells(cells) => Some(cells.as_slice()),
            Row::Rule => None,
        })
    }

    fn has_groups_of_columns(&self) -> bool {
        self.columns.iter().any(|column| column.group.is_some())
    }

    /// The columns in runs of the same group: the group, where the run begins and how long it is.
    fn spans(&self) -> Vec<(Option<&str>, usize, usize)> {
        let (mut spans, mut first) = (Vec::new(), 0);
        for columns in self.columns.chunk_by(|a, b| a.group == b.group) {
            spans.push((columns[0].group.as_deref(), first, columns.len()));
            first += columns.len();
        }
        spans
    }

    fn has_emphasis(&self) -> bool {
        self.cells().flatten().any(|cell| cell.emphasized)
    }

    /// The longest standard deviation of a column: means without one leave its place free.
    fn longest_sd(&self, column: usize) -> Option<String> {
        self.cells().filter_map(|cells| cells[column].words().1).max_by_key(String::len)
    }

    /// All footnotes in the order of their letters; a text that occurs twice has one letter.
    fn footnotes(&self) -> Vec<&str> {
        let mut footnotes: Vec<&str> = Vec::new();
        for note in self.cells().flatten().filter_map(|cell| cell.footnote.as_deref()) {
            if !footnotes.contains(&note) {
                footnotes.push(note);
            }
        }
        footnotes
    }

    /// The letter of a cell's footnote among all `footnotes`.
    fn letter(cell: &Cell, footnotes: &[&str]) -> Option<String> {
        let note = cell.footnote.as_deref()?;
        footnotes.iter().position(|other| *other == note).map(letter)
    }
}

/// The name of a footnote. Letters, because a raised digit behind a number reads as a part of it.
fn letter(index: usize) -> String {
    let last = char::from(b'a' + (index % 26) as u8);
    match index / 26 {
        0 => last.to_string(),
        more => letter(more - 1) + &last.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn footnotes_have_letters() {
        let letters: Vec<String> = [0, 1, 25, 26, 51, 52, 701, 702].into_iter().map(letter).collect();
        assert_eq!(letters, ["a", "b", "z", "aa", "az", "ba", "zz", "aaa"]);
    }

    #[test]
    #[should_panic(expected = "cells in a row of the table \"Two columns\"")]
    fn a_row_has_a_cell_for_every_column() {
        Table::new("Two columns", [Column::left("a"), Column::left("b")]).row([Cell::text("only one")]);
    }
}
