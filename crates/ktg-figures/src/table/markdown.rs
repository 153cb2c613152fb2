//! Tables for GitHub.

use super::{Align, Cell, Table, letter};
use crate::clean::clean;

impl Table {
    /// The table as GitHub reads it. Headings over several columns become part of each column's heading, and lines
    /// between rows are left out: Markdown has neither.
    pub fn to_markdown(&self) -> String {
        let footnotes = self.footnotes();
        let mut text = String::new();
        if !self.title.trim().is_empty() {
            text += &format!("**{}**\n\n", escaped(&self.title));
        }
        text += &line(self.columns.iter().map(|column| escaped(&column.name())));
        text += &line(self.columns.iter().map(|column| match column.align {
            Align::Left => ":---".to_owned(),
            Align::Right => "---:".to_owned(),
        }));
        for cells in self.cells() {
            text += &line(cells.iter().map(|cell| markdown(cell, &footnotes)));
        }
        let mut notes = Vec::new();
        if self.has_emphasis() {
            notes.push(format!("Bold: {}.", escaped(&self.emphasis)));
        }
        let footnotes = footnotes.iter().enumerate();
        notes.extend(footnotes.map(|(i, note)| format!("<sup>{}</sup> {}", letter(i), escaped(note))));
        notes.extend(self.notes.iter().map(|note| paragraph(note)));
        for note in notes {
            text += &format!("\n{note}\n");
        }
        text
    }
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let mut line = "|".to_owned();
    for cell in cells {
        line += &format!(" {cell} |");
    }
    line + "\n"
}

fn markdown(cell: &Cell, footnotes: &[&str]) -> String {
    let mut text = escaped(&cell.line());
    if cell.reason().is_some() {
        text = format!("*{text}*");
    }
    if cell.emphasized {
        text = format!("**{text}**");
    }
    match Table::letter(cell, footnotes) {
        Some(letter) => format!("{text} <sup>{letter}</sup>"),
        None => text,
    }
}

/// Text in which nothing is a sign of Markdown or HTML. A backslash before punctuation is never shown.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in clean(text).chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '~' | '$' | '&' | '#') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// Text that starts a line, where more signs have a meaning.
fn paragraph(text: &str) -> String {
    let text = escaped(text);
    // "1." and "1)" would start a list, and so would "-" and "+"; "===" and "---" would make a heading.
    let digits = text.chars().take_while(char::is_ascii_digit).count();
    let sign = text[digits..].chars().next();
    let list = digits > 0 && matches!(sign, Some('.' | ')'));
    let other = digits == 0 && matches!(sign, Some('-' | '+' | '='));
    if list || other { format!("{}\\{}", &text[..digits], &text[digits..]) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_never_a_list() {
        assert_eq!(paragraph("12. May"), "12\\. May");
        assert_eq!(paragraph("- 3"), "\\- 3");
        assert_eq!(paragraph("12 runs - 3"), "12 runs - 3");
        assert_eq!(paragraph("# 犬"), "\\# 犬");
        assert_eq!(paragraph(""), "");
    }
}
