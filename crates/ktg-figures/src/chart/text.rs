//! Texts and numbers as they stand in a chart.

pub(super) use crate::draw::escaped;
use crate::png::own_face;

/// How wide the text is in DejaVu Sans, which is no narrower than the fonts that a browser may take instead.
pub(super) fn width(text: &str, size: f64, bold: bool) -> f64 {
    let ems: f64 = text.chars().map(|c| advance(c, bold)).sum();
    ems * size
}

fn advance(c: char, bold: bool) -> f64 {
    let own = own_face(bold).and_then(|face| {
        let advance = face.glyph_hor_advance(face.glyph_index(c)?)?;
        Some(f64::from(advance) / f64::from(face.units_per_em()))
    });
    own.unwrap_or(if c < '\u{1100}' { 0.65 } else { 1.0 })
}

/// The text, cut and ended by an ellipsis where it is too wide.
pub(super) fn shortened(text: &str, size: f64, bold: bool, widest: f64) -> String {
    if width(text, size, bold) <= widest {
        return text.to_owned();
    }
    let room = widest / size - advance('…', bold);
    let mut used = 0.0;
    let kept = text.chars().take_while(|c| {
        used += advance(*c, bold);
        used <= room
    });
    let kept: String = kept.collect();
    format!("{}…", kept.trim_end())
}

/// The text in at most `most` lines, broken at spaces; the last line is shortened.
pub(super) fn wrapped(text: &str, size: f64, bold: bool, widest: f64, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let full = lines.len() == most;
        match lines.last_mut() {
            Some(line) if full || fits(line, word, size, bold, widest) => {
                line.push(' ');
                *line += word;
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| shortened(line, size, bold, widest)).collect()
}

fn fits(line: &str, word: &str, size: f64, bold: bool, widest: f64) -> bool {
    width(line, size, bold) + width(word, size, bold) + size / 3.0 <= widest
}

/// A number with a true minus sign and groups of three digits.
pub(super) fn number(value: f64, decimals: usize) -> String {
    let plain = format!("{value:.decimals$}");
    let (digits, negative) = match plain.strip_prefix('-') {
        Some(digits) => (digits, digits.bytes().any(|digit| matches!(digit, b'1'..=b'9'))),
        None => (plain.as_str(), false),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut text = String::new();
    if negative {
        text.push('−');
    }
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if !fraction.is_empty() {
        text.push('.');
        text += fraction;
    }
    text
}

/// Singular or plural: "1 trial", "2,300 trials".
pub(super) fn counted(count: usize, one: &str) -> String {
    let number = number(count as f64, 0);
    if count == 1 { format!("{number} {one}") } else { format!("{number} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(number(-1234567.891, 1), "−1,234,567.9");
        assert_eq!(number(-0.04, 1), "0.0");
        assert_eq!(number(999.0, 0), "999");
        assert_eq!(counted(1, "trial"), "1 trial");
        assert_eq!(counted(6000, "trial"), "6,000 trials");
    }

    #[test]
    fn texts_fit() {
        let long = "a rather long name of a method, with ≥ 3 nodes and ± signs";
        for widest in [10.0, 80.0, 200.0] {
            let short = shortened(long, 14.0, false, widest);
            assert!(short.ends_with('…') && width(&short, 14.0, false) <= widest.max(14.0), "{short}");
        }
        assert_eq!(shortened("short", 14.0, false, 200.0), "short");
        assert!(width("iii", 14.0, false) < width("WWW", 14.0, false));
        assert!(width("same", 14.0, false) < width("same", 14.0, true));
        let lines = wrapped(long, 14.0, false, 150.0, 2);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].ends_with('…'));
        assert!(wrapped("", 14.0, false, 150.0, 2).is_empty());
    }

    #[test]
    fn only_characters_of_xml() {
        assert_eq!(escaped("a<b>\u{7}\n&\""), "a&lt;b&gt;\u{fffd} &amp;&quot;");
    }
}
