//! The SVG that a chart is drawn on.

use std::fmt::Write as _;

use super::style::{Anchor, Area, Key, Stroke, Type};
use super::text::{escaped, shortened, width, wrapped};
use crate::palette::{INK, PAPER, SOFT_INK};

/// Size of most texts. At 600 units' width on a phone of 360 points they are still 8 points high.
pub(super) const TEXT: f64 = 14.0;
/// Size of texts that must not draw the eye.
pub(super) const SMALL: f64 = 12.5;
const TITLE: f64 = 16.0;
/// Free space at the edges.
pub(super) const MARGIN: f64 = 12.0;
/// Width of a chart that fills a column.
pub(super) const WIDTH: f64 = 600.0;

const FAMILY: &str = "'DejaVu Sans', Verdana, Helvetica, Arial, sans-serif";

/// An SVG as it grows.
pub(super) struct Sheet {
    pub width: f64,
    pub height: f64,
    /// How far down it is filled.
    pub top: f64,
    title: String,
    body: String,
}

impl Sheet {
    /// A sheet with its title, which is also its description; without one, `what` describes it.
    pub fn new(width: f64, title: &str, what: &str) -> Self {
        let described = if title.trim().is_empty() { what } else { title };
        let mut sheet =
            Self { width, height: 0.0, top: MARGIN, title: described.trim().to_owned(), body: String::new() };
        let style = Type::new(TITLE, INK).bold();
        for line in wrapped(title, TITLE, true, width - 2.0 * MARGIN, 2) {
            sheet.text(MARGIN, sheet.top + TITLE / 2.0 + 1.0, style, &line);
            sheet.top += TITLE * 1.3;
        }
        if sheet.top > MARGIN {
            sheet.top += 6.0;
        }
        sheet
    }

    /// What describes the chart.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The finished SVG.
    pub fn finish(self) -> String {
        let (width, height) = (short(self.width), short(self.height));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" font-family=\"{FAMILY}\">\n\
             <title>{}</title>\n<rect width=\"{width}\" height=\"{height}\" fill=\"{PAPER}\"/>\n{}</svg>\n",
            escaped(&self.title),
            self.body
        )
    }

    /// A text whose vertical middle is at `y`.
    pub fn text(&mut self, x: f64, y: f64, style: Type, text: &str) {
        self.turned_text(x, y, style, text, "");
    }

    /// A text that reads upwards and starts at the point.
    pub fn upright_text(&mut self, x: f64, y: f64, style: Type, text: &str) {
        let turn = format!(" transform=\"rotate(-90 {} {})\"", short(x), short(y));
        self.turned_text(x, y, style, text, &turn);
    }

    fn turned_text(&mut self, x: f64, y: f64, style: Type, text: &str, turn: &str) {
        if text.is_empty() {
            return;
        }
        // Not every renderer knows `dominant-baseline`; capitals are about 0.72 of the font size high.
        let baseline = y + 0.36 * style.size;
        let anchor = match style.anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let bold = if style.bold { " font-weight=\"bold\"" } else { "" };
        let halo = if style.halo {
            format!(" stroke=\"{PAPER}\" stroke-width=\"3.5\" stroke-linejoin=\"round\" paint-order=\"stroke\"")
        } else {
            String::new()
        };
        self.push(format_args!(
            "<text x=\"{}\" y=\"{}\" font-size=\"{}\" fill=\"{}\"{anchor}{bold}{halo}{turn}>{}</text>",
            short(x),
            short(baseline),
            short(style.size),
            style.colour,
            escaped(text)
        ));
    }

    /// A line through the points.
    pub fn line(&mut self, points: &[(f64, f64)], stroke: Stroke) {
        let mut path = String::new();
        for (i, (x, y)) in points.iter().enumerate() {
            let _ = write!(path, "{}{} {}", if i == 0 { 'M' } else { 'L' }, short(*x), short(*y));
        }
        if points.len() > 1 {
            self.push(format_args!(
                "<path d=\"{path}\" fill=\"none\" stroke-linejoin=\"round\" {}/>",
                stroke.attributes()
            ));
        }
    }

    /// Many dots in one element.
    pub fn dots(&mut self, points: &[(f64, f64)], radius: f64, colour: &str, opacity: f64) {
        if points.is_empty() {
            return;
        }
        // A line of no length with round ends is a dot, and much shorter to write than a circle.
        let mut path = String::new();
        for (x, y) in points {
            let _ = write!(path, "M{} {}h0", short(*x), short(*y));
        }
        self.push(format_args!(
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{}\" stroke-linecap=\"round\" \
             stroke-opacity=\"{opacity}\"/>",
            short(2.0 * radius)
        ));
    }

    /// A dot, with a text that shows when pointed at.
    pub fn dot(&mut self, (x, y): (f64, f64), radius: f64, colour: &str, tip: &str) {
        self.tipped(
            tip,
            format!(
                "circle cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"{colour}\" stroke=\"{PAPER}\" stroke-width=\"0.8\"",
                short(x),
                short(y),
                short(radius)
            ),
        );
    }

    /// A hollow dot.
    pub fn ring(&mut self, (x, y): (f64, f64), radius: f64, colour: &str, tip: &str) {
        self.tipped(
            tip,
            format!(
                "circle cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"{PAPER}\" stroke=\"{colour}\" stroke-width=\"1.6\"",
                short(x),
                short(y),
                short(radius)
            ),
        );
    }

    /// A small diagonal cross.
    pub fn cross(&mut self, (x, y): (f64, f64), radius: f64, colour: &'static str, tip: &str) {
        let d =
            format!("M{} {}l{r} {r}m0 -{r}l-{r} {r}", short(x - radius), short(y - radius), r = short(2.0 * radius));
        self.tipped(tip, format!("path d=\"{d}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\""));
    }

    /// A filled rectangle.
    pub fn rectangle(&mut self, area: Area, fill: &str, opacity: f64, tip: &str) {
        let opacity = if opacity < 1.0 { format!(" fill-opacity=\"{opacity}\"") } else { String::new() };
        self.tipped(tip, format!("{} fill=\"{fill}\"{opacity}", rectangle(area)));
    }

    /// An empty rectangle.
    pub fn frame(&mut self, area: Area, stroke: Stroke) {
        self.tipped("", format!("{} fill=\"none\" {}", rectangle(area), stroke.attributes()));
    }

    /// An element without children, or with a text that shows when pointed at.
    pub fn tipped(&mut self, tip: &str, element: String) {
        if tip.is_empty() {
            self.push(format_args!("<{element}/>"));
        } else {
            let name = element.split(' ').next().unwrap_or_default();
            self.push(format_args!("<{element}><title>{}</title></{name}>", escaped(tip)));
        }
    }

    fn push(&mut self, element: std::fmt::Arguments) {
        // Writing to a string cannot fail.
        let _ = self.body.write_fmt(element);
        self.body.push('\n');
    }

    /// Keys and their texts in as many rows as they need, below what is there.
    pub fn legend(&mut self, entries: &[(Key, String)], left: f64) {
        const ROW: f64 = 21.0;
        let (mut x, mut y) = (left, self.top + ROW / 2.0);
        for (key, text) in entries {
            let key_width = if matches!(key, Key::Line(_)) { 30.0 } else { 17.0 };
            let text = shortened(text, SMALL, false, self.width - left - MARGIN - key_width);
            let needed = key_width + width(&text, SMALL, false);
            if x > left && x + needed > self.width - MARGIN {
                (x, y) = (left, y + ROW);
            }
            let at = (x + 6.0, y);
            match *key {
                Key::Line(stroke) => self.line(&[(x, y), (x + 24.0, y)], stroke),
                Key::Dot(colour) => self.dot(at, 5.0, colour, ""),
                Key::Ring(colour) => self.ring(at, 4.5, colour, ""),
                Key::Cross(colour) => self.cross(at, 4.0, colour, ""),
                Key::Square(colour, opacity) => {
                    self.rectangle(Area { left: x, top: y - 6.0, width: 12.0, height: 12.0 }, colour, opacity, "");
                }
                Key::Frame(colour) => {
                    self.frame(Area { left: x, top: y - 5.0, width: 12.0, height: 10.0 }, Stroke::new(colour, 1.2));
                }
            }
            self.text(x + key_width, y, Type::new(SMALL, SOFT_INK), &text);
            x += needed + 18.0;
        }
        if !entries.is_empty() {
            self.top = y + ROW / 2.0 + 6.0;
        }
    }

    /// Small text below what is there, over the full width.
    pub fn note(&mut self, text: &str) {
        for line in wrapped(text, SMALL, false, self.width - 2.0 * MARGIN, 4) {
            self.text(MARGIN, self.top + SMALL * 0.7, Type::new(SMALL, SOFT_INK), &line);
            self.top += SMALL * 1.4;
        }
    }
}

fn rectangle(area: Area) -> String {
    // Nothing may be narrower than nothing, whatever the rounding.
    let (width, height) = (area.width.max(0.0), area.height.max(0.0));
    format!(
        "rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"",
        short(area.left),
        short(area.top),
        short(width),
        short(height)
    )
}

/// A length with at most two decimals.
pub(super) fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}
