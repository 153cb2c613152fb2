//! Tables for terminals.

use unicode_width::UnicodeWidthStr;

use super::{Align, Cell, Row, Table, letter};
use crate::clean::clean;

/// Between two columns.
const GAP: usize = 2;
/// Between a mean and its standard deviation.
const SIGN: &str = " ± ";

/// How wide the parts of a column's cells are, in columns of a terminal.
#[derive(Default)]
struct Widths {
    /// The mean of cells that have a standard deviation, with those below and above them.
    number: usize,
    /// The standard deviation with its ±.
    sd: usize,
    /// Signs behind the value.
    mark: usize,
    /// Everything.
    whole: usize,
}

impl Table {
    /// The table with aligned columns, for terminals and logs.
    pub fn to_text(&self) -> String {
        let footnotes = self.footnotes();
        let widths = self.all_widths(&footnotes);
        let line = "─".repeat(total(&widths));

        let mut lines = Vec::new();
        if !self.title.trim().is_empty() {
            lines.extend([clean(&self.title), String::new()]);
        }
        if self.has_groups_of_columns() {
            lines.extend(self.group_headings(&widths));
        }
        let headings = self.columns.iter().zip(&widths).map(|(column, w)| {
            let mark = " ".repeat(if column.align == Align::Right { w.mark } else { 0 });
            aligned(&(clean(&column.heading) + &mark), w.whole, column.align)
        });
        lines.push(joined(headings));
        lines.push(line.clone());
        for row in &self.rows {
            match row {
                Row::Rule => lines.push(line.clone()),
                Row::Cells(cells) => {
                    let cells = cells.iter().zip(&self.columns).zip(&widths);
                    lines.push(joined(cells.map(|((cell, column), w)| {
                        aligned(&padded(cell, column.align, w, &footnotes), w.whole, column.align)
                    })));
                }
            }
        }
        lines.push(line);
        if self.has_emphasis() {
            lines.push(format!("* {}", clean(&self.emphasis)));
        }
        lines.extend(footnotes.iter().enumerate().map(|(i, note)| format!("[{}] {}", letter(i), clean(note))));
        lines.extend(self.notes.iter().map(|note| clean(note)));
        lines.iter().map(|line| line.trim_end().to_owned() + "\n").collect()
    }

    /// How wide the columns are together where long words wrap.
    pub(super) fn width(&self) -> usize {
        const WRAPPED: usize = 32;
        let mut widths = self.all_widths(&self.footnotes());
        for (column, width) in self.columns.iter().zip(&mut widths) {
            if column.align == Align::Left {
                width.whole = width.whole.min(WRAPPED);
            }
        }
        total(&widths)
    }

    fn all_widths(&self, footnotes: &[&str]) -> Vec<Widths> {
        let mut widths: Vec<Widths> = (0..self.columns.len()).map(|i| self.widths(i, footnotes)).collect();
        self.widen_for_groups(&mut widths);
        widths
    }

    fn widths(&self, column: usize, footnotes: &[&str]) -> Widths {
        let align = self.columns[column].align;
        let cells: Vec<&Cell> = self.cells().map(|cells| &cells[column]).collect();
        let widest = |width: &dyn Fn(&Cell) -> usize| cells.iter().map(|cell| width(cell)).max().unwrap_or(0);
        let number = |cell: &Cell| if cell.is_number() { cell.words().0.width() } else { 0 };
        let mut widths = Widths {
            number: widest(&number),
            sd: widest(&|cell| cell.words().1.map_or(0, |sd| SIGN.width() + sd.width())),
            mark: widest(&|cell| mark(cell, footnotes).width()),
            whole: 0,
        };
        let heading = clean(&self.columns[column].heading).width();
        let heading = heading + if align == Align::Right { widths.mark } else { 0 };
        widths.whole = widest(&|cell| padded(cell, align, &widths, footnotes).width()).max(heading);
        widths
    }

    /// Makes the last column of a group wide enough for the group's heading.
    fn widen_for_groups(&self, widths: &mut [Widths]) {
        for (group, first, length) in self.spans() {
            let wanted = group.map_or(0, |group| clean(group).width());
            widths[first + length - 1].whole += wanted.saturating_sub(total(&widths[first..first + length]));
        }
    }

    /// The headings over groups of columns, and the lines that show what they span.
    fn group_headings(&self, widths: &[Widths]) -> [String; 2] {
        let spans = self.spans();
        let headings = spans.iter().map(|(group, first, length)| {
            let (heading, width) = (clean(group.unwrap_or_default()), total(&widths[*first..first + length]));
            let left = (width - heading.width()) / 2;
            aligned(&(" ".repeat(left) + &heading), width, Align::Left)
        });
        let lines = spans.iter().map(|(group, first, length)| {
            let width = total(&widths[*first..first + length]);
            if group.is_some() { "─".repeat(width) } else { " ".repeat(width) }
        });
        [joined(headings), joined(lines)]
    }
}

/// The width of columns with the gaps between them.
fn total(widths: &[Widths]) -> usize {
    widths.iter().map(|w| w.whole).sum::<usize>() + GAP * widths.len().saturating_sub(1)
}

/// A cell in which the point and the ± stand where those above and below stand.
fn padded(cell: &Cell, align: Align, widths: &Widths, footnotes: &[&str]) -> String {
    let (words, sd) = cell.words();
    let mark = mark(cell, footnotes);
    let mark_width = if align == Align::Right { widths.mark } else { 0 };
    match sd {
        _ if !cell.is_number() => words + &aligned(&mark, mark_width, Align::Left),
        Some(sd) => {
            let (mean, sd) =
                (aligned(&words, widths.number, Align::Right), aligned(&sd, widths.sd - SIGN.width(), Align::Right));
            format!("{mean}{SIGN}{sd}{}", aligned(&mark, mark_width, Align::Left))
        }
        // The signs follow the number, and the place of the standard deviation stays free behind them.
        None => aligned(&words, widths.number, Align::Right) + &aligned(&mark, widths.sd + mark_width, Align::Left),
    }
}

/// The signs behind a value.
fn mark(cell: &Cell, footnotes: &[&str]) -> String {
    let star = if cell.emphasized { "*" } else { "" };
    let note = Table::letter(cell, footnotes).map(|letter| format!("[{letter}]"));
    star.to_owned() + &note.unwrap_or_default()
}

fn aligned(text: &str, width: usize, align: Align) -> String {
    let space = " ".repeat(width.saturating_sub(text.width()));
    match align {
        Align::Left => text.to_owned() + &space,
        Align::Right => space + text,
    }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(&" ".repeat(GAP))
}
