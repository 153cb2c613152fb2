//! Text files, line by line.

/// The number of a line from 1 on, and what is wrong with it.
pub(crate) type LineError = (usize, String);

/// The text of a file without its byte order mark; an error has its line.
pub(crate) fn text_of(bytes: &[u8]) -> Result<&str, LineError> {
    let text = str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count() + 1;
        (line, "not UTF-8 text; save the file in UTF-8".to_string())
    })?;
    Ok(text.strip_prefix('\u{FEFF}').unwrap_or(text))
}

/// The lines that are neither blank nor a comment (`#`), without blanks around them, and their numbers from 1.
pub(crate) fn used_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(i, line)| (i + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}
