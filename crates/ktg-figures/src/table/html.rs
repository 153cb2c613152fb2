//! Tables for pages.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, html};

use super::cell::Content;
use super::{Align, Cell, Column, Row, Table, letter};
use crate::clean::clean;

/// Tables that are wider on a terminal need more room on a page than its text does.
const TEXT_WIDTH: usize = 76;

impl Table {
    /// The table as a fragment of HTML, with a label in front of the title such as "Table 2." and links to save it,
    /// under the id's name.
    pub(crate) fn markup(&self, id: &str, label: &str) -> Markup {
        let footnotes = self.footnotes();
        html! {
            figure.table.wide[self.width() > TEXT_WIDTH] id=(id) {
                figcaption {
                    b { (label) } " " (clean(&self.title)) " "
                    span.save {
                        "Save as " (save(&format!("{id}.csv"), "CSV", "text/csv", &self.to_csv())) " or "
                        (save(&format!("{id}.tex"), "LaTeX", "application/x-tex", &self.to_latex()))
                    }
                }
                // Wide tables scroll in here, also with the keyboard.
                div.scroll tabindex="0" role="region" aria-label=(clean(&self.title)) {
                    table { (self.head()) (self.body(&footnotes)) }
                }
                @if self.has_emphasis() || !footnotes.is_empty() || !self.notes.is_empty() {
                    div.notes {
                        @if self.has_emphasis() { p { "Bold: " (clean(&self.emphasis)) "." } }
                        @for (i, note) in footnotes.iter().enumerate() { p { sup { (letter(i)) } " " (clean(note)) } }
                        @for note in &self.notes { p { (clean(note)) } }
                    }
                }
            }
        }
    }

    fn head(&self) -> Markup {
        let grouped = self.has_groups_of_columns();
        let rows = if grouped { "2" } else { "1" };
        html! {
            thead {
                tr {
                    @for (group, first, length) in self.spans() {
                        @if let Some(group) = group {
                            th.group scope="colgroup" colspan=(length) { span { (clean(group)) } }
                        } @else {
                            @for column in &self.columns[first..first + length] {
                                th class=[side(column.align)] scope="col" rowspan=(rows) { (clean(&column.heading)) }
                            }
                        }
                    }
                }
                @if grouped {
                    tr {
                        @for column in self.columns.iter().filter(|column| column.group.is_some()) {
                            th class=[side(column.align)] scope="col" { (clean(&column.heading)) }
                        }
                    }
                }
            }
        }
    }

    /// Lines begin a new body, so that browsers and screen readers know what belongs together.
    fn body(&self, footnotes: &[&str]) -> Markup {
        let longest = |column: usize| self.longest_sd(column).map_or(0, |sd| sd.chars().count());
        let widest: Vec<usize> = (0..self.columns.len()).map(longest).collect();
        let bodies = self.rows.split(|row| *row == Row::Rule).filter(|body| !body.is_empty());
        html! {
            @for body in bodies {
                tbody {
                    @for row in body {
                        @if let Row::Cells(cells) = row {
                            tr {
                                @for (i, (cell, column)) in cells.iter().zip(&self.columns).enumerate() {
                                    (html_cell(cell, column, i == 0, widest[i], footnotes))
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn html_cell(cell: &Cell, column: &Column, first: bool, longest_sd: usize, footnotes: &[&str]) -> Markup {
    let (words, sd) = cell.words();
    // Wide enough for every ± of the column, so that all means stand below each other.
    let width = format!("min-width:{}.5ch", longest_sd + 1);
    let sup = html! { @if let Some(letter) = Table::letter(cell, footnotes) { sup { (letter) } } };
    let value = html! {
        @if cell.emphasized { strong { (minus(&words, cell)) } } @else { (minus(&words, cell)) }
        @match sd {
            Some(sd) => { span.sd style=(width) { " ± " (sd) } (sup) },
            None if cell.is_number() && longest_sd > 0 => { (sup) span.sd style=(width) {} },
            None => (sup),
        }
    };
    let side = match &cell.content {
        Content::Missing(_) if column.align == Align::Right => Some("right missing"),
        Content::Missing(_) => Some("missing"),
        _ => side(column.align),
    };
    html! {
        @if first && column.align == Align::Left { th class=[side] scope="row" { (value) } }
        @else { td class=[side] { (value) } }
    }
}

/// Numbers have a minus that is as wide as a plus.
fn minus(words: &str, cell: &Cell) -> String {
    if cell.is_number() { words.replace('-', "−") } else { words.to_owned() }
}

fn side(align: Align) -> Option<&'static str> {
    (align == Align::Right).then_some("right")
}

/// A link that saves a text as a file, without a server and without a script.
pub(crate) fn save(file: &str, label: &str, media: &str, text: &str) -> Markup {
    let address = format!("data:{media};charset=utf-8;base64,{}", STANDARD.encode(text));
    html! {
        a href=(address) download=(file) aria-label=(format!("{label}: save {file}")) { (label) }
    }
}
