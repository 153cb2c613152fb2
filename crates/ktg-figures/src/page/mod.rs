//! Reports: one HTML file that holds everything it shows.
//!
//! The file needs no network, no script and no other file. It follows the reader's choice of light or dark, and its
//! layout fits desktops, phones and paper.

mod inline;
mod render;

pub use render::CONTENT_POLICY;

use crate::table::Table;

/// A report.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Its title, also the browser's.
    pub title: String,
    /// One sentence below the title; none if empty.
    pub subtitle: String,
    /// Its sections, which are numbered and listed at its beginning.
    pub sections: Vec<Section>,
    /// What made the report, at its end; none if empty.
    pub footer: String,
}

/// A part of a report with a heading.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// Its heading, which makes its address.
    pub heading: String,
    /// What it shows.
    pub blocks: Vec<Block>,
}

/// A picture with a caption. Readers can save it as a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// The picture. Its `<title>` is what screen readers say about it.
    pub svg: String,
    /// What it shows, in plain text.
    pub caption: String,
    /// Whether it may be wider than the text.
    pub wide: bool,
}

/// A piece of a section.
///
/// In all texts, what stands between two backticks is shown as code; nothing else has a meaning.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// Paragraphs, separated by empty lines.
    Text(String),
    /// One figure.
    Figure(Figure),
    /// Figures side by side, as far as there is room.
    Figures(Vec<Figure>),
    /// A table.
    Table(Table),
    /// Commands or the content of a file.
    Code {
        /// What it is for; none if empty.
        caption: String,
        /// The lines.
        code: String,
    },
    /// Names and their values.
    Settings(Vec<(String, String)>),
    /// A remark that should not be overlooked.
    Note(String),
    /// What makes the results less trustworthy.
    Warning(String),
    /// What most readers skip: folded on the screen, open on paper.
    Details {
        /// The line that is always visible.
        summary: String,
        /// What unfolds.
        blocks: Vec<Block>,
    },
}

impl Page {
    /// A report without sections.
    pub fn new(title: impl Into<String>) -> Self {
        Page { title: title.into(), subtitle: String::new(), sections: Vec::new(), footer: String::new() }
    }

    /// Adds a section and returns it, to be filled.
    pub fn section(&mut self, heading: impl Into<String>) -> &mut Section {
        self.sections.push(Section::new(heading));
        let last = self.sections.len() - 1;
        &mut self.sections[last]
    }
}

impl Section {
    /// An empty section.
    pub fn new(heading: impl Into<String>) -> Self {
        Section { heading: heading.into(), blocks: Vec::new() }
    }

    /// Adds a block, a figure or a table.
    pub fn push(&mut self, block: impl Into<Block>) -> &mut Self {
        self.blocks.push(block.into());
        self
    }
}

impl Figure {
    /// A figure as wide as the text.
    pub fn new(svg: impl Into<String>, caption: impl Into<String>) -> Self {
        Figure { svg: svg.into(), caption: caption.into(), wide: false }
    }

    /// The same figure, wider than the text where there is room.
    pub fn wide(self) -> Self {
        Figure { wide: true, ..self }
    }
}

impl Block {
    /// Paragraphs, separated by empty lines.
    pub fn text(text: impl Into<String>) -> Self {
        Block::Text(text.into())
    }

    /// Commands or the content of a file, with a caption.
    pub fn code(caption: impl Into<String>, code: impl Into<String>) -> Self {
        Block::Code { caption: caption.into(), code: code.into() }
    }

    /// Names and their values.
    pub fn settings<N: Into<String>, V: Into<String>>(settings: impl IntoIterator<Item = (N, V)>) -> Self {
        Block::Settings(settings.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// A remark that should not be overlooked.
    pub fn note(text: impl Into<String>) -> Self {
        Block::Note(text.into())
    }

    /// What makes the results less trustworthy.
    pub fn warning(text: impl Into<String>) -> Self {
        Block::Warning(text.into())
    }

    /// What most readers skip.
    pub fn details(summary: impl Into<String>, blocks: impl IntoIterator<Item = Block>) -> Self {
        Block::Details { summary: summary.into(), blocks: blocks.into_iter().collect() }
    }
}

impl From<Figure> for Block {
    fn from(figure: Figure) -> Self {
        Block::Figure(figure)
    }
}

impl From<Table> for Block {
    fn from(table: Table) -> Self {
        Block::Table(table)
    }
}
