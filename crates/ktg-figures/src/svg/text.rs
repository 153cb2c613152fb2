//! Texts and numbers as they stand in a picture.

use maud::html;

use crate::clean::{printable, rounded};
use crate::png::own_face;

/// How wide the text is in DejaVu Sans, which is no narrower than the fonts that a browser may take instead.
pub(crate) fn width(text: &str, size: f64, bold: bool) -> f64 {
    let ems: f64 = text.chars().map(|c| advance(c, bold)).sum();
    ems * size
}

/// How wide the widest of some texts is; 0 of none.
pub(crate) fn widest<'a>(texts: impl IntoIterator<Item = &'a String>, size: f64, bold: bool) -> f64 {
    texts.into_iter().map(|text| width(text, size, bold)).fold(0.0, f64::max)
}

fn advance(c: char, bold: bool) -> f64 {
    let own = own_face(bold).and_then(|face| {
        let advance = face.glyph_hor_advance(face.glyph_index(c)?)?;
        Some(f64::from(advance) / f64::from(face.units_per_em()))
    });
    own.unwrap_or(if c < '\u{1100}' { 0.65 } else { 1.0 })
}

/// The text, cut and ended by an ellipsis where it is too wide.
pub(crate) fn shortened(text: &str, size: f64, bold: bool, widest: f64) -> String {
    if width(text, size, bold) <= widest {
        return text.to_owned();
    }
    let room = widest - width("…", size, bold);
    format!("{}…", beginning(text, size, bold, room).trim_end())
}

/// As much of the text as is no wider.
fn beginning(text: &str, size: f64, bold: bool, widest: f64) -> &str {
    let mut used = 0.0;
    let end = text.char_indices().find(|(_, c)| {
        used += size * advance(*c, bold);
        used > widest
    });
    &text[..end.map_or(text.len(), |(at, _)| at)]
}

/// The text in at most `most` lines, broken at spaces and behind hyphens, and within words that are wider than a line;
/// the last line is shortened.
pub(crate) fn wrapped(text: &str, size: f64, bold: bool, widest: f64, most: usize) -> Vec<String> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut rest = text.as_str();
    let mut lines = Vec::new();
    while !rest.is_empty() && lines.len() + 1 < most {
        let (line, after) = rest.split_at(line_end(rest, beginning(rest, size, bold, widest).len()));
        lines.push(line.trim_end().to_owned());
        rest = after.trim_start();
    }
    if !rest.is_empty() {
        lines.push(shortened(rest, size, bold, widest));
    }
    lines
}

/// Where a line ends that has room for so many bytes of the text.
fn line_end(text: &str, room: usize) -> usize {
    if room == text.len() || text[room..].starts_with(' ') {
        return room;
    }
    let letter = text.chars().next().map_or(0, char::len_utf8);
    text[..room].rfind([' ', '-']).map_or(room.max(letter), |at| at + 1)
}

/// A number with a true minus sign and groups of three digits.
pub(crate) fn number(value: f64, decimals: usize) -> String {
    let plain = rounded(value, decimals);
    let (sign, digits) = plain.strip_prefix('-').map_or(("", plain.as_str()), |digits| ("−", digits));
    let (whole, fraction) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut text = sign.to_owned();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text + fraction
}

/// Singular or plural: "1 trial", "2,300 trials".
pub(crate) fn counted(count: usize, one: &str) -> String {
    let number = number(count as f64, 0);
    if count == 1 { format!("{number} {one}") } else { format!("{number} {one}s") }
}

/// A length with at most two decimals.
pub(crate) fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// A place in the commands of a path.
pub(crate) fn point((x, y): (f64, f64)) -> String {
    format!("{} {}", short(x), short(y))
}

/// Text for XML, which has no way to write most control characters at all.
pub(crate) fn escaped(text: &str) -> String {
    let shown = |c: char| if matches!(c, '\n' | '\r' | '\t') { ' ' } else { printable(c) };
    let text: String = text.chars().map(shown).collect();
    html! { (text) }.into_string()
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
    fn lines_break_at_spaces_and_hyphens() {
        let lines = |text: &str| wrapped(text, 11.5, false, 95.0, 2);
        assert_eq!(lines("abn-resnet-18"), ["abn-resnet-18"]);
        assert_eq!(lines("abn-resnet-cifar-110"), ["abn-resnet-", "cifar-110"]);
        assert_eq!(lines("two  words of some length"), ["two words of", "some length"]);
        assert_eq!(lines("onewordofmanyletters"), ["onewordofmany", "letters"]);
        let long = lines(&"é".repeat(50));
        assert!(long.len() == 2 && long[1].ends_with('…'), "{long:?}");
        assert_eq!(wrapped("WWW", 11.5, false, 1.0, 3), ["W", "W", "…"]);
    }

    #[test]
    fn only_characters_of_xml() {
        assert_eq!(escaped("a<b>\u{7}\n&\""), "a&lt;b&gt;\u{fffd} &amp;&quot;");
    }
}
