//! Files of class names.

use super::table;
use crate::Error;
use std::collections::BTreeMap;
use std::path::Path;

/// Class names in the order of their numbers.
///
/// A line is a name (numbered from 0 in the order of the lines) or `name, number`. A table with
/// several such pairs of columns, one for each label column of the lists, is understood too
/// (`classes.csv` of Grocery Store: fine name, fine number, coarse name, coarse number, ...). A
/// first line without a number is a header.
pub(crate) fn read(file: &Path, label_column: usize) -> Result<Vec<String>, Error> {
    parse(&std::fs::read(file).map_err(|source| Error::read(file, source))?, file, label_column)
}

/// As [`read`], from the content of `file`.
pub(crate) fn parse(bytes: &[u8], file: &Path, label_column: usize) -> Result<Vec<String>, Error> {
    let lines = table::parse(bytes).map_err(|(line, problem)| Error::line(file, line, problem))?;
    let mut names = BTreeMap::<u32, (String, usize)>::new();
    for (i, (line, fields)) in lines.into_iter().enumerate() {
        let pair = 2 * label_column.saturating_sub(1);
        let pair = if fields.len() > pair + 1 { pair } else { 0 };
        let name = fields[pair].clone();
        let number = match fields.get(pair + 1) {
            None => i as u32,
            Some(number) => match number.parse() {
                Ok(number) => number,
                Err(_) if i == 0 => continue,
                Err(_) => {
                    return Err(Error::line(file, line, format!("\"{number}\" is not the number of a class")));
                }
            },
        };
        if name.is_empty() {
            return Err(Error::line(file, line, "the class name is empty"));
        }
        let (first_name, first_line) = names.entry(number).or_insert((name.clone(), line));
        if *first_name != name {
            let problem = format!("class {number} is \"{name}\" here and \"{first_name}\" in line {first_line}");
            return Err(Error::line(file, line, problem));
        }
    }
    let mut lines = BTreeMap::new();
    for (position, (&number, (name, line))) in names.iter().enumerate() {
        if number as usize != position {
            return Err(Error::file(file, format!("class {position} is missing; numbers must go 0, 1, 2, ...")));
        }
        if let Some(first) = lines.insert(name, line) {
            return Err(Error::line(file, *line, format!("the class name \"{name}\" is in line {first} already")));
        }
    }
    if names.is_empty() {
        return Err(Error::file(file, "holds no class names"));
    }
    Ok(names.into_values().map(|(name, _)| name).collect())
}
