//! Every colour of the pictures.
//!
//! Each constant is written as six lowercase hex digits and differs from all others, so that whoever shows a picture on
//! a dark page can swap the colours by plain replacement of text.

use ktg_graph::Gate;

pub(super) const BACKGROUND: &str = "#ffffff";
/// Names, numbers and captions.
pub(super) const TEXT: &str = "#1f2328";
/// Remarks below names.
pub(super) const REMARK: &str = "#4b5158";
pub(super) const ENSEMBLE: &str = "#f0837c";
pub(super) const ENSEMBLE_RIM: &str = "#a83a34";
pub(super) const NODE: &str = "#dfe1e4";
/// Around nodes and "Label" boxes.
pub(super) const RIM: &str = "#6b7178";
pub(super) const LABEL: &str = "#fbfbfc";
/// The thin edges into the ensemble node.
pub(super) const MEAN: &str = "#b4b9bf";

// Gates differ in lightness too, so that they stay apart for colour-blind readers and on paper.
const THROUGH: &str = "#1f6fd6";
const LINEAR: &str = "#b85a00";
const CORRECT: &str = "#00452f";
/// Nothing draws a cut edge; a gate needs a colour nevertheless.
const CUTOFF: &str = "#8f959c";

/// All colours of the pictures, each with its counterpart on a dark page.
///
/// The pictures are written in the first of each pair. To darken one, replace each first by its second; no second is
/// another pair's first, so the order does not matter.
pub const PALETTE: &[(&str, &str)] = &[
    (BACKGROUND, "#15181c"),
    (TEXT, "#e6e8eb"),
    (REMARK, "#b9bfc6"),
    (ENSEMBLE, "#8f3a36"),
    (ENSEMBLE_RIM, "#e2817b"),
    (NODE, "#363b42"),
    (RIM, "#969ca4"),
    (LABEL, "#1e2227"),
    (MEAN, "#5c636b"),
    (THROUGH, "#4f9bff"),
    (LINEAR, "#e0852b"),
    (CORRECT, "#b4f0c8"),
    (CUTOFF, "#787f87"),
];

/// The colour of edges with a gate, dark enough for text on white.
pub(super) fn gate(gate: Gate) -> &'static str {
    match gate {
        Gate::Through => THROUGH,
        Gate::Linear => LINEAR,
        Gate::Correct => CORRECT,
        Gate::Cutoff => CUTOFF,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance, 0 to 1.
    fn luminance(colour: &str) -> f64 {
        let channel = |i: usize| {
            let value = f64::from(u8::from_str_radix(&colour[i..i + 2], 16).unwrap()) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    /// Contrast of two colours as the Web Content Accessibility Guidelines define it.
    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    fn dark(light: &str) -> &'static str {
        PALETTE.iter().find(|(first, _)| *first == light).unwrap().1
    }

    #[test]
    fn colours_can_be_swapped_by_replacement() {
        for (i, (light, dark)) in PALETTE.iter().enumerate() {
            for colour in [light, dark] {
                let digits = colour.strip_prefix('#').unwrap();
                assert_eq!(digits.len(), 6, "{colour}");
                assert!(digits.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')), "{colour}");
            }
            assert!(PALETTE[..i].iter().all(|(other, _)| other != light), "{light} twice");
            assert!(PALETTE.iter().all(|(other, _)| other != dark), "{dark} would be replaced again");
        }
    }

    #[test]
    fn texts_stand_out_on_light_and_dark_pages() {
        let gates = Gate::ALL.into_iter().filter(|gate| !gate.is_cut()).map(gate);
        let mut pairs: Vec<(&str, &str)> = gates.map(|colour| (colour, BACKGROUND)).collect();
        pairs.extend([(TEXT, BACKGROUND), (TEXT, NODE), (TEXT, ENSEMBLE), (TEXT, LABEL), (REMARK, NODE)]);
        for (text, ground) in pairs {
            assert!(contrast(text, ground) >= 4.5, "{text} on {ground}");
            assert!(contrast(dark(text), dark(ground)) >= 4.5, "{} on {}", dark(text), dark(ground));
        }
    }
}
