//! Sentences about a wrong TOML file.

/// What is wrong with a TOML text, in one line that begins with its origin and the line of the mistake.
pub fn toml_problem(text: &str, origin: &str, error: &toml::de::Error) -> String {
    let place = match error.span() {
        Some(span) => {
            let breaks_before = text.bytes().take(span.start).filter(|byte| *byte == b'\n').count();
            format!("{origin}:{}", 1 + breaks_before)
        }
        None => origin.to_owned(),
    };
    format!("{place}: {}", in_plain_words(&error.message().replace('\n', " ")))
}

/// A deserializer's message with words for the types of Rust that it expects.
pub fn in_plain_words(message: &str) -> String {
    let Some((before, kind)) = message.rsplit_once("expected ") else { return message.to_owned() };
    let (kind, rest) = kind.split_at(kind.find(|c: char| !c.is_alphanumeric()).unwrap_or(kind.len()));
    let words = match kind {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0 up",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "path" => "a path in quotation marks",
        _ => return message.to_owned(),
    };
    format!("{before}expected {words}{rest}")
}
