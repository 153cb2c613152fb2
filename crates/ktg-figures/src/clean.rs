//! Texts and numbers as every kind of output needs them.

/// The character, or one that stands for it where neither XML nor HTML can hold it.
pub(crate) fn printable(c: char) -> char {
    if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') { '\u{fffd}' } else { c }
}

/// A number with so many digits behind the point. What rounds to zero has no sign.
pub(crate) fn rounded(value: f64, decimals: usize) -> String {
    let shown = format!("{value:.decimals$}");
    match shown.strip_prefix('-') {
        Some(digits) if digits.chars().all(|c| matches!(c, '0' | '.')) => digits.to_owned(),
        _ => shown,
    }
}

/// Text on one line, without characters that would move other text or that files cannot hold.
pub(crate) fn clean(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c => printable(c),
    };
    text.trim().chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_on_its_line_and_in_its_direction() {
        assert_eq!(clean(" a\r\nb\tc\u{1b}[31m\u{202e}\0 犬 "), "a  b c\u{fffd}[31m\u{fffd}\u{fffd} 犬");
    }
}
