//! Sentences about texts.

use ktg_base::text::{first_difference, toml_problem};

#[test]
fn mistakes_in_toml_have_lines_and_plain_words() {
    let problem = |text: &str| {
        let error = toml::from_str::<std::collections::BTreeMap<String, u8>>(text).unwrap_err();
        toml_problem(text, "a.toml", &error)
    };
    let expected = "a.toml:2: invalid type: string \"x\", expected a whole number from 0 up";
    assert_eq!(problem("a = 1\nb = \"x\"\n"), expected);
    assert!(problem("a = 1\n\nb =\n").starts_with("a.toml:3: "));
}

#[test]
fn a_key_of_a_table_of_some_kind_has_its_line() {
    #[derive(Debug, serde::Deserialize)]
    #[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
    enum Shape {
        Circle { _radius: u8 },
    }
    let problem = |text: &str| {
        let error = toml::from_str::<std::collections::BTreeMap<String, Shape>>(text).unwrap_err();
        toml_problem(text, "a.toml", &error)
    };
    let circle = "kind = \"circle\"\n_radius = 1\n";
    let unknown = "unknown field `side`, expected `_radius`";
    assert_eq!(problem(&format!("[a]\n{circle}\n  \"side\" = 2\n[b]\nside = 1\n")), format!("a.toml:5: {unknown}"));
    assert_eq!(problem(&format!("[a]\n{circle}[b]\nside = 1\n{circle}[c]\n")), format!("a.toml:5: {unknown}"));
    assert_eq!(problem(&format!("[a]\n{circle}[b.side]\n")), "a.toml:4: missing field `kind`");
    // The head of the table, where the key has no line of its own.
    assert_eq!(problem(&format!("[a]\n{circle}[a.side]\n[b]\nside = 1\n")), format!("a.toml:1: {unknown}"));
    assert_eq!(problem("\na = { kind = \"circle\", side = 1 }\n"), format!("a.toml:2: {unknown}"));
}

#[test]
fn the_first_difference_is_named() {
    assert_eq!(first_difference("a\n  b\nc", "a\n  d\ne"), "`b` here, `d` there");
    assert_eq!(first_difference("a\nb", "a"), "one has more than the other");
}
