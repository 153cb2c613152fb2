//! Names in commands and as names of files.

use ktg_base::names::{shell_word, slug, study_file_name};

#[test]
fn commands_can_be_typed() {
    assert_eq!(shell_word("dogs-m3"), "dogs-m3");
    assert_eq!(shell_word("it's \"1\""), r#"'it'\''s "1"'"#);
    assert_eq!(shell_word(""), "''");
}

#[test]
fn study_names_become_file_names() {
    assert_eq!(study_file_name("dogs m=3/a"), "dogs-m-3-a");
    assert_eq!(study_file_name("Dogs_2.5-"), "Dogs_2.5-");
    assert_eq!(study_file_name("../.."), "study");
    assert_eq!(study_file_name("🐶"), "study");
    assert_eq!(study_file_name("犬 2"), "犬-2");
    assert!(study_file_name(&"x".repeat(512)).len() == 64);
}

#[test]
fn names_become_parts_of_file_names() {
    assert_eq!(slug("DML (T = 2)"), "dml--t---2");
    assert_eq!(slug("犬_2.5"), "犬-2-5");
    assert_eq!(slug("..."), "unnamed");
    assert!(slug(&"x".repeat(512)).len() == 64);
}
