//! Grids of pictures.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kurbo::Rect;
use resvg::tiny_skia::Pixmap;

use crate::Error;
use crate::palette::{AXIS, BAD, GOOD, GRID, INK};
use crate::svg::{Anchor, MARGIN, SMALL, Sheet, Stroke, Type, attributes, widest, wrapped};

/// Pictures in rows and columns, such as attention maps: rows are images, columns are nodes.
#[derive(Debug, Clone, Default)]
pub struct Pictures {
    /// Above the grid, may be empty.
    pub title: String,
    /// Above the columns.
    pub columns: Vec<String>,
    /// From top to bottom.
    pub rows: Vec<PictureRow>,
}

/// One row of [`Pictures`].
#[derive(Debug, Clone, Default)]
pub struct PictureRow {
    /// Left of the row, in up to three lines.
    pub name: String,
    /// One for each column; a missing one leaves its place free.
    pub cells: Vec<Option<Picture>>,
}

/// One picture with its caption.
#[derive(Debug, Clone, Default)]
pub struct Picture {
    /// The bytes of a PNG file.
    pub png: Vec<u8>,
    /// The answer to it, below it.
    pub caption: String,
    /// Whether that is right, which marks it ✓ or ✗.
    pub right: bool,
}

const GAP: f64 = 8.0;
const CAPTION: f64 = 17.0;

/// Draws a grid of pictures, which the SVG contains whole.
pub fn pictures(figure: &Pictures) -> Result<String, Error> {
    const WIDTH: f64 = 640.0;
    let columns = figure.rows.iter().map(|row| row.cells.len()).fold(figure.columns.len(), usize::max);
    let names = widest(figure.rows.iter().map(|row| &row.name), SMALL, false);
    let names = if names > 0.0 { names.clamp(40.0, 110.0) + GAP } else { 0.0 };
    let room = WIDTH - 2.0 * MARGIN - names;
    let side = (room / columns.max(1) as f64 - GAP).clamp(56.0, 150.0);
    let used = 2.0 * MARGIN + names + columns as f64 * (side + GAP) - GAP;
    let mut sheet = Sheet::new(used.max(320.0), &figure.title, "Pictures");
    let left = MARGIN + names;
    let x = |column: usize| left + column as f64 * (side + GAP);
    for (column, name) in figure.columns.iter().enumerate() {
        let style = Type::new(SMALL, INK).bold().anchored(Anchor::Middle).within(side + GAP - 2.0);
        sheet.text(x(column) + side / 2.0, sheet.top + 8.0, style, name);
    }
    if !figure.columns.is_empty() {
        sheet.top += 22.0;
    }
    for (i, row) in figure.rows.iter().enumerate() {
        let lines = wrapped(&row.name, SMALL, false, names - GAP, 3);
        let first = sheet.top + side / 2.0 - (lines.len().max(1) - 1) as f64 * 8.0;
        for (line, text) in lines.iter().enumerate() {
            sheet.text(MARGIN, first + line as f64 * 16.0, Type::new(SMALL, INK), text);
        }
        for (column, picture) in row.cells.iter().enumerate() {
            let area = Rect::from_origin_size((x(column), sheet.top), (side, side));
            match picture {
                Some(picture) => cell(&mut sheet, area, picture, (i, column))?,
                None => sheet.frame(area, Stroke::new(GRID, 1.0)),
            }
        }
        sheet.top += side + GAP + CAPTION;
    }
    if figure.rows.is_empty() {
        sheet.note("No pictures yet.");
    }
    sheet.height = sheet.top + MARGIN - if figure.rows.is_empty() { 0.0 } else { GAP };
    Ok(sheet.finish())
}

fn cell(sheet: &mut Sheet, area: Rect, picture: &Picture, (row, column): (usize, usize)) -> Result<(), Error> {
    let Ok(pixels) = Pixmap::decode_png(&picture.png) else {
        let figure = sheet.title().to_owned();
        let reason = format!("the picture in row {}, column {} is no PNG", row + 1, column + 1);
        return Err(Error::Figure { figure, reason });
    };
    // Each pixel of an image smaller than its place shows as a square instead of a blur.
    let small = f64::from(pixels.width().max(pixels.height())) < area.width();
    let sharp = if small { " style=\"image-rendering:pixelated\"" } else { "" };
    let image = format!(
        "image {} preserveAspectRatio=\"xMidYMid meet\"{sharp} href=\"data:image/png;base64,{}\"",
        attributes(area),
        STANDARD.encode(&picture.png)
    );
    sheet.element(&image, &picture.caption);
    sheet.frame(area, Stroke::new(AXIS, 0.6));
    let (mark, color) = if picture.right { ("✓", GOOD) } else { ("✗", BAD) };
    let caption = format!("{mark} {}", picture.caption);
    let style = Type::new(SMALL - 0.5, color).anchored(Anchor::Middle).within(area.width() + GAP - 2.0);
    sheet.text(area.center().x, area.y1 + CAPTION / 2.0 + 2.0, style, &caption);
    Ok(())
}
