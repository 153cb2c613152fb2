//! Sentences about texts: what is wrong with one, and where two differ.

/// What is wrong with a TOML text, in one line that begins with its origin and the line of the mistake.
pub fn toml_problem(text: &str, origin: &str, error: &toml::de::Error) -> String {
    let message = toml_message(error);
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => {
            let place = before.matches('\n').count();
            // Of a table whose keys depend on one of them, such as `[data]`, the deserializer knows no other place than its head.
            let key = message.split('`').nth(1);
            let line = key.and_then(|key| line_of_key(text, place, key)).unwrap_or(place) + 1;
            format!("{origin}:{line}: {message}")
        }
        None => format!("{origin}: {message}"),
    }
}

/// The line, from 0, of a key of the table whose head is the line `place`.
pub fn line_of_key(text: &str, place: usize, key: &str) -> Option<usize> {
    let is_head = |line: &str| line.trim_start().starts_with('[');
    let is_of_key =
        |line: &str| line.split_once('=').is_some_and(|(name, _)| name.trim().trim_matches(['"', '\'']) == key);
    let mut lines = text.lines().enumerate().skip(place);
    lines.next().filter(|(_, line)| is_head(line))?;
    lines.take_while(|(_, line)| !is_head(line)).find(|(_, line)| is_of_key(line)).map(|(number, _)| number)
}

/// What is wrong, in one line without a place, and with words for the types of Rust that the deserializer expects.
pub fn toml_message(error: &toml::de::Error) -> String {
    in_plain_words(&error.message().trim().replace('\n', ", "))
}

fn in_plain_words(message: &str) -> String {
    let Some((before, kind)) = message.rsplit_once("expected ") else { return message.to_owned() };
    let (kind, rest) = kind.split_at(kind.find(|c: char| !c.is_alphanumeric()).unwrap_or(kind.len()));
    let words = match kind {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0 up",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "path" => "a path in quotation marks",
        _ => return message.to_owned(),
    };
    // Of a path, serde says "path string".
    format!("{before}expected {words}{}", rest.trim_start_matches(" string"))
}

/// Where two texts that should be the same differ, for an error's parentheses: the first line that does, in both.
pub fn first_difference(ours: &str, theirs: &str) -> String {
    match ours.lines().zip(theirs.lines()).find(|(ours, theirs)| ours != theirs) {
        Some((ours, theirs)) => format!("`{}` here, `{}` there", ours.trim(), theirs.trim()),
        None => "one has more than the other".to_owned(),
    }
}

/// A number with commas between groups of three digits.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 11_689_512].map(super::grouped), ["0", "999", "1,000", "11,689,512"]);
    }
}
