//! Lines of fields, which commas or tabs separate.

use crate::Error;
use crate::lines::{LineError, text_of, used_lines};
use std::path::Path;

/// The fields of every line that is neither blank nor a comment (`#`), with its number from 1.
pub(super) fn read(file: &Path) -> Result<Vec<(usize, Vec<String>)>, Error> {
    let bytes = std::fs::read(file).map_err(|source| Error::read(file, source))?;
    parse(&bytes).map_err(|(line, problem)| Error::line(file, line, problem))
}

/// As [`read`]; an error has its line.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<(usize, Vec<String>)>, LineError> {
    let parse_line = |(number, line)| match fields(line) {
        Some(fields) => Ok((number, fields)),
        None => Err((number, "a quotation mark is not closed".to_string())),
    };
    used_lines(text_of(bytes)?).map(parse_line).collect()
}

/// Splits a line at commas (at tabs if it has no comma outside quotation marks). A field may stand
/// in quotation marks, doubled inside. `None` if one is not closed.
fn fields(line: &str) -> Option<Vec<String>> {
    let at_commas = split(line, ',')?;
    if at_commas.len() > 1 { Some(at_commas) } else { split(line, '\t') }
}

fn split(line: &str, separator: char) -> Option<Vec<String>> {
    // Tabs that separate are no blanks: an empty column counts.
    let blank = |c: char| c.is_whitespace() && c != separator;
    let mut fields = Vec::new();
    let mut rest = Some(line);
    while let Some(text) = rest {
        let text = text.trim_start_matches(blank);
        let (field, after) = match text.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (field, after) = text.split_at(text.find(separator).unwrap_or(text.len()));
                (field.trim().to_string(), after)
            }
        };
        fields.push(field);
        rest = after.trim_start_matches(blank).strip_prefix(separator);
    }
    Some(fields)
}

/// The text up to the closing quotation mark, and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let (mut before, mut after) = text.split_once('"')?;
    // One that is doubled closes nothing.
    while let Some(next) = after.strip_prefix('"') {
        field = field + before + "\"";
        (before, after) = next.split_once('"')?;
    }
    Some((field + before, after))
}
