//! Where `plotters` draws: on a sheet, in tenths of its units.
//!
//! `plotters` has an SVG backend of its own, but it knows whole pixels only, which makes curves ragged, has neither
//! dashes nor texts to point at, and writes the font with every text.

use std::convert::Infallible;

use plotters::style::{FontStyle, RGBColor};
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind};

use crate::palette::{INK, PALETTE};
use crate::svg::{Anchor, Area, Sheet, Stroke, Type};

/// Steps of `plotters` in one unit of the sheet.
pub(super) const TENTHS: f64 = 10.0;

/// What `plotters` draws with.
pub(super) struct Pen<'s>(pub &'s mut Sheet);

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

/// A place of `plotters` on the sheet.
pub(super) fn place((x, y): BackendCoord) -> (f64, f64) {
    (f64::from(x) / TENTHS, f64::from(y) / TENTHS)
}

/// A length on the sheet for `plotters`.
pub(super) fn tenths(length: f64) -> i32 {
    (length * TENTHS).round() as i32
}

/// A color of the palette for `plotters`.
pub(super) fn rgb(color: &str) -> RGBColor {
    let part = |at: usize| color.get(at..at + 2).and_then(|hex| u8::from_str_radix(hex, 16).ok()).unwrap_or(0);
    RGBColor(part(1), part(3), part(5))
}

/// The palette's name of a color that went through `plotters`.
fn known(color: BackendColor) -> &'static str {
    let (r, g, b) = color.rgb;
    let found = PALETTE.iter().find(|(light, _)| rgb(light) == RGBColor(r, g, b));
    found.map_or(INK, |(light, _)| light)
}

fn stroke<S: BackendStyle>(style: &S) -> Stroke {
    let color = style.color();
    Stroke::new(known(color), f64::from(style.stroke_width()) / TENTHS).faint(color.alpha)
}

impl DrawingBackend for Pen<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        (tenths(self.0.width).unsigned_abs(), tenths(self.0.height).unsigned_abs())
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, point: BackendCoord, color: BackendColor) -> Drawn {
        let (left, top) = place(point);
        self.0.rectangle(Area { left, top, width: 0.1, height: 0.1 }, known(color), color.alpha, "");
        Ok(())
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Drawn {
        self.draw_path([from, to], style)
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Drawn {
        if style.color().alpha > 0.0 {
            let points: Vec<(f64, f64)> = path.into_iter().map(place).collect();
            self.0.line(&points, stroke(style));
        }
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, at: BackendCoord) -> Drawn {
        let (x, y) = place(at);
        let size = style.size() / TENTHS;
        let anchor = match style.anchor().h_pos {
            HPos::Left => Anchor::Start,
            HPos::Center => Anchor::Middle,
            HPos::Right => Anchor::End,
        };
        let y = match style.anchor().v_pos {
            VPos::Top => y + size / 2.0,
            VPos::Center => y,
            VPos::Bottom => y - size / 2.0,
        };
        let bold = matches!(style.style(), FontStyle::Bold);
        let style = Type { bold, ..Type::new(size, known(style.color())).anchored(anchor) };
        self.0.text(x, y, style, text);
        Ok(())
    }
}
