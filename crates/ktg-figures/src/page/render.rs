//! Reports as HTML.

use std::collections::HashSet;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::inline::Inline;
use super::{Block, Figure, Page, Section};
use crate::clean::{clean, printable};
use crate::palette;
use crate::table::save;

/// What the page may load: nothing but pictures that it holds itself. No script can run in it.
pub const CONTENT_POLICY: &str =
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

const CSS: &str = include_str!("page.css");

/// The page has the colors of its figures.
fn style() -> String {
    let colors = [
        ("ink", palette::INK),
        ("soft", palette::SOFT_INK),
        ("paper", palette::PAPER),
        ("rule", palette::GRID),
        ("axis", palette::AXIS),
        ("panel", palette::PANEL),
        ("link", palette::COMPLETE),
        ("warning", palette::BAD),
    ];
    let colors: String = colors.map(|(name, light)| format!("--{name}:{};", palette::variable(light))).concat();
    format!("{}:root{{{colors}}}\n{CSS}", palette::css())
}

impl Page {
    /// The report as the text of one HTML file.
    pub fn to_html(&self) -> String {
        markup(self).into_string()
    }
}

fn markup(page: &Page) -> Markup {
    let mut renderer = Renderer::default();
    let ids: Vec<String> = page.sections.iter().map(|section| renderer.claim(&slug(&section.heading))).collect();
    let contents = ids.iter().zip(&page.sections);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(CONTENT_POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // Keeps servers from being asked for an icon.
                link rel="icon" href="data:,";
                title { (clean(&page.title)) }
                style { (PreEscaped(style())) }
            }
            body {
                header {
                    h1 { (clean(&page.title)) }
                    @if !page.subtitle.is_empty() { p.subtitle { (words(&page.subtitle)) } }
                }
                @if page.sections.len() > 1 {
                    nav aria-label="Contents" {
                        ol {
                            @for (id, section) in contents.clone() {
                                li { a href=(format!("#{id}")) { (clean(&section.heading)) } }
                            }
                        }
                    }
                }
                main {
                    @for (i, (id, section)) in contents.enumerate() { (renderer.section(section, id, i + 1)) }
                }
                @if !page.footer.is_empty() { footer { p { (words(&page.footer)) } } }
            }
        }
    }
}

/// What has been rendered so far.
#[derive(Default)]
struct Renderer {
    ids: HashSet<String>,
    figures: usize,
    tables: usize,
}

impl Renderer {
    /// The id itself, or with a number behind it if it is taken.
    fn claim(&mut self, id: &str) -> String {
        let mut claimed = id.to_owned();
        let mut number = 2;
        while !self.ids.insert(claimed.clone()) {
            claimed = format!("{id}-{number}");
            number += 1;
        }
        claimed
    }

    fn section(&mut self, section: &Section, id: &str, number: usize) -> Markup {
        html! {
            section id=(id) {
                h2 { span.number { (number) } " " (clean(&section.heading)) }
                (self.blocks(&section.blocks))
            }
        }
    }

    fn blocks(&mut self, blocks: &[Block]) -> Markup {
        html! { @for block in blocks { (self.block(block)) } }
    }

    fn block(&mut self, block: &Block) -> Markup {
        match block {
            Block::Text(text) => paragraphs(text),
            Block::Figure(figure) => self.figure(figure),
            Block::Figures(figures) => html! { div.row { @for figure in figures { (self.figure(figure)) } } },
            Block::Table(table) => {
                self.tables += 1;
                let id = self.claim(&format!("table-{}", self.tables));
                table.markup(&id, &format!("Table {}.", self.tables))
            }
            Block::Code { caption, code } => html! {
                figure.code {
                    @if !caption.is_empty() { figcaption { (words(caption)) } }
                    pre tabindex="0" role="region" aria-label=[label(caption)] { code { (lines(code)) } }
                }
            },
            Block::Settings(settings) => html! {
                dl { @for (name, value) in settings { div { dt { (words(name)) } dd { (words(value)) } } } }
            },
            Block::Note(text) => html! { div.box.note role="note" { b { "Note" } (paragraphs(text)) } },
            Block::Warning(text) => html! { div.box.warning role="note" { b { "Warning" } (paragraphs(text)) } },
            Block::Details { summary, blocks } => html! {
                details { summary { (words(summary)) } div.folded { (self.blocks(blocks)) } }
            },
        }
    }

    fn figure(&mut self, figure: &Figure) -> Markup {
        self.figures += 1;
        let id = self.claim(&format!("figure-{}", self.figures));
        let wide = figure.wide.then_some("wide");
        let inline = Inline::new(&figure.svg, &figure.caption);
        html! {
            figure class=[wide] id=(id) {
                @match &inline {
                    Ok(inline) => (PreEscaped(palette::themed(&inline.element, &format!("{id}-")))),
                    Err(reason) => p.broken { "This figure cannot be shown: " (clean(reason)) "." },
                }
                figcaption {
                    b { "Figure " (self.figures) "." } " " (words(&figure.caption))
                    // A second copy of pictures would double the page; `ktg report --figures` writes them as files.
                    @if let Ok(inline) = &inline && figure.svg.len() <= LARGEST_COPY {
                        " " span.save { "Save as " (save(&file_name(&id, &inline.title), "SVG", "image/svg+xml", &figure.svg)) }
                    }
                }
            }
        }
    }
}

/// Larger figures have no link to be saved as files, in bytes.
const LARGEST_COPY: usize = 100_000;

/// The name of a figure's file: its number and its title.
fn file_name(id: &str, title: &str) -> String {
    if title.is_empty() { format!("{id}.svg") } else { format!("{id}-{}.svg", slug(title)) }
}

fn label(text: &str) -> Option<String> {
    Some(clean(text)).filter(|text| !text.is_empty())
}

/// Text as it can stand in an address, an id or the name of a file.
pub(super) fn slug(text: &str) -> String {
    let letter = |c: char| if c.is_alphanumeric() { c } else { '-' };
    let letters: String = text.to_lowercase().chars().map(letter).take(60).collect();
    let words: Vec<&str> = letters.split('-').filter(|word| !word.is_empty()).collect();
    if words.is_empty() { "part".to_owned() } else { words.join("-") }
}

/// Paragraphs, which empty lines separate.
fn paragraphs(text: &str) -> Markup {
    let lines: Vec<&str> = text.lines().collect();
    let paragraphs = lines.split(|line| line.trim().is_empty()).filter(|lines| !lines.is_empty());
    html! { @for lines in paragraphs { p { (words(&lines.join("\n"))) } } }
}

/// Text in which backticks enclose code. One without a partner is itself.
fn words(text: &str) -> Markup {
    let text = clean(text);
    let parts: Vec<&str> = text.split('`').collect();
    // Parts with odd numbers are between two backticks, unless the last one was never closed.
    let is_code = |i: usize| i % 2 == 1 && i + 1 < parts.len();
    html! {
        @for (i, part) in parts.iter().enumerate() {
            @if is_code(i) { code { (part) } } @else if i % 2 == 1 { "`" (part) } @else { (part) }
        }
    }
}

/// Lines of code, as they are but for characters that HTML cannot hold.
fn lines(code: &str) -> String {
    let shown = |c: char| if matches!(c, '\n' | '\t') { c } else { printable(c) };
    code.replace("\r\n", "\n").trim_end().chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backticks_enclose_code() {
        assert_eq!(words("a `b<c` d").into_string(), "a <code>b&lt;c</code> d");
        assert_eq!(words("a `b` c` d").into_string(), "a <code>b</code> c` d");
        assert_eq!(words("`").into_string(), "`");
        assert_eq!(words("").into_string(), "");
    }

    #[test]
    fn empty_lines_separate_paragraphs() {
        assert_eq!(paragraphs("\n\na\nb\n \n\nc").into_string(), "<p>a b</p><p>c</p>");
        assert_eq!(paragraphs(" \n").into_string(), "");
    }

    #[test]
    fn slugs_are_short_words() {
        assert_eq!(slug("Accuracy & Time (s)"), "accuracy-time-s");
        assert_eq!(slug("犬 1"), "犬-1");
        assert_eq!(slug("<&>"), "part");
        assert_eq!(slug(&"a b".repeat(100)).chars().count(), 60);
    }

    #[test]
    fn an_id_is_given_once() {
        let mut renderer = Renderer::default();
        let ids = ["a", "a", "a-2", "a"].map(|id| renderer.claim(id));
        assert_eq!(ids, ["a", "a-2", "a-2-2", "a-3"]);
    }
}
