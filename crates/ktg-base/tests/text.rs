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
fn the_first_difference_is_named() {
    assert_eq!(first_difference("a\n  b\nc", "a\n  d\ne"), "`b` here, `d` there");
    assert_eq!(first_difference("a\nb", "a"), "one has more than the other");
}
