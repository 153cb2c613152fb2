//! How wide texts are, and how names are broken and shortened.

/// Widths are those of DejaVu Sans, the first of these and one of the widest; no font is measured.
pub(super) const FONTS: &str = "'DejaVu Sans', Verdana, Helvetica, Arial, sans-serif";

/// Longer architecture names are shortened.
const LONGEST_NAME: usize = 30;
/// Longer ones are broken into two lines.
const LONGEST_LINE: usize = 15;

/// Estimated width of a text, in parts of the font size.
pub(super) fn width(text: &str) -> f64 {
    text.chars().map(advance).sum()
}

fn advance(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' | 'I' | '\'' => 0.28,
        ' ' | '.' | ',' | ':' | ';' | '|' | '/' | '\\' => 0.33,
        'f' | 't' | 'r' | '-' | '(' | ')' | '[' | ']' => 0.4,
        'c' | 's' | 'z' | '_' => 0.54,
        'm' | 'M' | 'W' | '…' | '%' | '@' => 1.0,
        'w' | '#' | '+' | '=' | '<' | '>' => 0.84,
        'A'..='Z' => 0.74,
        '!'..='~' => 0.63,
        // Where letters are wide, such as Chinese ones.
        _ => 1.0,
    }
}

/// The text, or its beginning and "…".
pub(super) fn shortened(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest.saturating_sub(1)).chain(['…']).collect()
}

/// A name in one or two lines, broken after a hyphen or the like if it has one.
pub(super) fn lines(name: &str) -> Vec<String> {
    let name = shortened(name, LONGEST_NAME);
    if name.chars().count() <= LONGEST_LINE {
        return vec![name];
    }
    let total = width(&name);
    // The wider of the two lines shall be narrow; a break within a word costs a little.
    let cost = |at: usize| {
        let first = width(&name[..at]);
        let within = !name[..at].ends_with(['-', '_', ' ', '/', '.']);
        first.max(total - first) + if within { 3.0 } else { 0.0 }
    };
    let breaks = name.char_indices().map(|(at, _)| at).skip(1);
    match breaks.min_by(|a, b| cost(*a).total_cmp(&cost(*b))) {
        Some(at) => vec![name[..at].trim_end().to_owned(), name[at..].trim_start().to_owned()],
        None => vec![name],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_broken_at_hyphens() {
        assert_eq!(lines("abn-resnet-18"), ["abn-resnet-18"]);
        assert_eq!(lines("abn-resnet-cifar-110"), ["abn-resnet-", "cifar-110"]);
        assert_eq!(lines("onewordofmanyletters"), ["onewordof", "manyletters"]);
        let lines = lines(&"é".repeat(50));
        assert_eq!(lines.len(), 2);
        assert_eq!(lines.concat().chars().count(), LONGEST_NAME);
        assert!(lines[1].ends_with('…'));
    }

    #[test]
    fn wide_letters_are_wider() {
        assert!(width("mmm") > width("aaa") && width("aaa") > width("iii"));
        // DejaVu Sans: 7.92 times the font size.
        assert!((7.92..8.4).contains(&width("Attention closer")), "{}", width("Attention closer"));
    }
}
