//! The SVG that a chart or a picture is drawn on.

use std::fmt::Write as _;

use kurbo::Rect;

use super::style::{Anchor, Key, Stroke, Type, attributes};
use super::text::{escaped, point, short, shortened, width, wrapped};
use crate::palette::{INK, PAPER, SOFT_INK};

/// Size of most texts. At 600 units' width on a phone of 360 points they are still 8 points high.
pub(crate) const TEXT: f64 = 14.0;
/// Size of texts that must not draw the eye.
pub(crate) const SMALL: f64 = 12.5;
const TITLE: f64 = 16.0;
/// Free space at the edges.
pub(crate) const MARGIN: f64 = 12.0;
/// Width of a chart that fills a column.
pub(crate) const WIDTH: f64 = 600.0;

/// Texts are measured in the first of these, which is one of the widest.
const FAMILY: &str = "'DejaVu Sans', Verdana, Helvetica, Arial, sans-serif";

/// An SVG as it grows.
pub(crate) struct Sheet {
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

    /// What describes the sheet.
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

    /// An element without children, or with a text that shows when pointed at.
    pub fn element(&mut self, element: &str, tip: &str) {
        if tip.is_empty() {
            self.push(format_args!("<{element}/>"));
        } else {
            let name = element.split(' ').next().unwrap_or_default();
            self.push(format_args!("<{element}><title>{}</title></{name}>", escaped(tip)));
        }
    }

    /// Begins a group: moved, scaled or turned by `transform`, with a text that shows when pointed at.
    pub fn begin_group(&mut self, transform: &str, tip: &str) {
        let transform = if transform.is_empty() { String::new() } else { format!(" transform=\"{transform}\"") };
        self.push(format_args!("<g{transform}>"));
        if !tip.is_empty() {
            self.push(format_args!("<title>{}</title>", escaped(tip)));
        }
    }

    /// Ends the group that was begun last.
    pub fn end_group(&mut self) {
        self.push(format_args!("</g>"));
    }

    fn push(&mut self, element: std::fmt::Arguments) {
        // Writing to a string cannot fail.
        let _ = self.body.write_fmt(element);
        self.body.push('\n');
    }

    /// A text whose vertical middle is at `y`.
    pub fn text(&mut self, x: f64, y: f64, style: Type, text: &str) {
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
            "<text x=\"{}\" y=\"{}\" font-size=\"{}\" fill=\"{}\"{anchor}{bold}{halo}>{}</text>",
            short(x),
            short(baseline),
            short(style.size),
            style.color,
            escaped(&shortened(text, style.size, style.bold, style.room))
        ));
    }

    /// A line that follows the commands of a path.
    pub fn path(&mut self, commands: &str, stroke: Stroke) {
        let stroke = stroke.attributes();
        self.push(format_args!("<path d=\"{commands}\" fill=\"none\" stroke-linejoin=\"round\" {stroke}/>"));
    }

    /// A line through the points.
    pub fn line(&mut self, points: &[(f64, f64)], stroke: Stroke) {
        if points.len() > 1 {
            let places: Vec<String> = points.iter().map(|place| point(*place)).collect();
            self.path(&format!("M{}", places.join("L")), stroke);
        }
    }

    /// An arrow head from its middle at the back to its tip. That of a dashed line is hollow.
    pub fn arrow_head(&mut self, back: (f64, f64), tip: (f64, f64), stroke: Stroke) {
        let (half_x, half_y) = (0.4 * (back.1 - tip.1), 0.4 * (tip.0 - back.0));
        let sides = [(back.0 + half_x, back.1 + half_y), (back.0 - half_x, back.1 - half_y)];
        let commands = format!("M{}L{}L{}Z", point(tip), point(sides[0]), point(sides[1]));
        let paint = if stroke.has_hollow_head() {
            format!("fill=\"{PAPER}\" stroke=\"{}\" stroke-width=\"{}\"", stroke.color, short(0.8 * stroke.width))
        } else {
            format!("fill=\"{}\"", stroke.color)
        };
        self.push(format_args!("<path d=\"{commands}\" {paint}/>"));
    }

    /// Many dots in one element.
    pub fn dots(&mut self, points: &[(f64, f64)], radius: f64, color: &str, opacity: f64) {
        if points.is_empty() {
            return;
        }
        // A line of no length with round ends is a dot, and much shorter to write than a circle.
        let commands: String = points.iter().map(|place| format!("M{}h0", point(*place))).collect();
        self.push(format_args!(
            "<path d=\"{commands}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"{}\" stroke-linecap=\"round\" \
             stroke-opacity=\"{opacity}\"/>",
            short(2.0 * radius)
        ));
    }

    /// A filled rectangle, with a text that shows when pointed at.
    pub fn rectangle(&mut self, area: Rect, fill: &str, opacity: f64, tip: &str) {
        let opacity = if opacity < 1.0 { format!(" fill-opacity=\"{opacity}\"") } else { String::new() };
        self.element(&format!("rect {} fill=\"{fill}\"{opacity}", attributes(area)), tip);
    }

    /// An empty rectangle.
    pub fn frame(&mut self, area: Rect, stroke: Stroke) {
        self.element(&format!("rect {} fill=\"none\" {}", attributes(area), stroke.attributes()), "");
    }

    /// A key whose middle is at the point, with a text that shows when pointed at. Lines have a length of their own.
    pub fn key(&mut self, key: Key, (x, y): (f64, f64), radius: f64, tip: &str) {
        let circle = format!("circle cx=\"{}\" cy=\"{}\" r=\"{}\"", short(x), short(y), short(radius));
        let square = Rect::from_center_size((x, y), (2.0 * radius, 2.0 * radius));
        let half = half_width(key);
        match key {
            Key::Line(stroke) => self.line(&[(x - half, y), (x + half, y)], stroke),
            Key::Arrow(stroke) => {
                let back = x + half - stroke.head();
                self.line(&[(x - half, y), (back, y)], stroke);
                self.arrow_head((back, y), (x + half, y), stroke);
            }
            Key::Dot(color) => {
                self.element(&format!("{circle} fill=\"{color}\" stroke=\"{PAPER}\" stroke-width=\"0.8\""), tip);
            }
            Key::Ring(color) => {
                self.element(&format!("{circle} fill=\"{PAPER}\" stroke=\"{color}\" stroke-width=\"1.6\""), tip);
            }
            Key::Cross(color) => {
                let [left, top, width] = [square.x0, square.y0, square.width()].map(short);
                let commands = format!("M{left} {top}l{width} {width}m0 -{width}l-{width} {width}");
                let path = format!("path d=\"{commands}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.6\"");
                self.element(&path, tip);
            }
            Key::Square(color, opacity) => self.rectangle(square, color, opacity, tip),
            Key::Frame(color) => self.frame(square, Stroke::new(color, 1.2)),
        }
    }

    /// Keys and their texts in as many rows as they need, below what is there and behind a heading, if there is one.
    pub fn legend(&mut self, heading: &str, entries: &[(Key, String)]) {
        const ROW: f64 = 21.0;
        if entries.is_empty() {
            return;
        }
        let left = if heading.is_empty() { MARGIN } else { MARGIN + 60.0 };
        let (mut x, mut y) = (left, self.top + ROW / 2.0);
        self.text(MARGIN, y, Type::new(SMALL, INK).bold(), heading);
        for (key, text) in entries {
            let half = half_width(*key);
            let indent = 2.0 * half + 6.0;
            let text = shortened(text, SMALL, false, self.width - left - MARGIN - indent);
            let needed = indent + width(&text, SMALL, false);
            if x > left && x + needed > self.width - MARGIN {
                (x, y) = (left, y + ROW);
            }
            self.key(*key, (x + half, y), 5.0, "");
            self.text(x + indent, y, Type::new(SMALL, SOFT_INK), &text);
            x += needed + 18.0;
        }
        self.top = y + ROW / 2.0 + 6.0;
    }

    /// Small text below what is there, over the full width.
    pub fn note(&mut self, text: &str) {
        for line in wrapped(text, SMALL, false, self.width - 2.0 * MARGIN, 4) {
            self.text(MARGIN, self.top + SMALL * 0.7, Type::new(SMALL, SOFT_INK), &line);
            self.top += SMALL * 1.4;
        }
    }
}

/// Half the width of a key in a legend.
fn half_width(key: Key) -> f64 {
    match key {
        Key::Line(_) => 12.0,
        Key::Arrow(_) => 19.0,
        _ => 5.0,
    }
}
