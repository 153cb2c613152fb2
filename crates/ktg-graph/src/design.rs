//! Loss designs: what a transfer edge transfers, and in which direction.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::knowledge::{Knowledge, Output};
use crate::words;

/// Whether the target's knowledge is pulled towards the source's or pushed away from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Minimise a distance (thesis eq. 1 and 3).
    Closer,
    /// Minimise a similarity (thesis eq. 2 and 4).
    Apart,
}

impl Direction {
    /// Both directions, in the order in which they are listed for people.
    pub const ALL: [Direction; 2] = [Direction::Closer, Direction::Apart];

    fn flipped(self) -> Direction {
        match self {
            Direction::Closer => Direction::Apart,
            Direction::Apart => Direction::Closer,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Direction::Closer => "closer",
            Direction::Apart => "apart",
        })
    }
}

/// One loss of a design.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Term {
    /// What is transferred.
    pub knowledge: Knowledge,
    /// Which way.
    pub direction: Direction,
}

impl fmt::Display for Term {
    /// As files write it, such as `attention apart`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} {}", self.knowledge, self.direction))
    }
}

/// The loss of a transfer edge: one or more [`Term`]s of different [`Knowledge`], whose losses are added (thesis eq. 6).
///
/// The thesis has six, which have constants here; any other set of terms is a design as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Design {
    /// By knowledge; `None`: not transferred.
    directions: [Option<Direction>; Knowledge::ALL.len()],
}

/// Codes up to this are for designs that have names of their own.
const LAST_NAMED_CODE: u8 = 16;

// With a fifth kind of knowledge, codes need a second byte and hashes a new version.
const _: () = assert!(3_u32.pow(Knowledge::ALL.len() as u32) + LAST_NAMED_CODE as u32 <= u8::MAX as u32);

impl Design {
    /// KL divergence from the source's class probabilities (thesis eq. 1).
    pub const PROBABILITY_CLOSER: Design = Design::NONE.and(Knowledge::Probability, Direction::Closer);
    /// Cosine similarity of the class probabilities (thesis eq. 2).
    pub const PROBABILITY_APART: Design = Design::NONE.and(Knowledge::Probability, Direction::Apart);
    /// Mean squared difference of the normalised attention map crops (thesis eq. 3).
    pub const ATTENTION_CLOSER: Design = Design::NONE.and(Knowledge::Attention, Direction::Closer);
    /// Cosine similarity of the attention map crops (thesis eq. 4).
    pub const ATTENTION_APART: Design = Design::NONE.and(Knowledge::Attention, Direction::Apart);
    /// Both losses that bring closer, added (thesis eq. 6).
    pub const BOTH_CLOSER: Design = Design::PROBABILITY_CLOSER.and(Knowledge::Attention, Direction::Closer);
    /// Both losses that push apart, added (thesis eq. 6).
    pub const BOTH_APART: Design = Design::PROBABILITY_APART.and(Knowledge::Attention, Direction::Apart);

    /// The designs of the thesis, in the order in which they are listed for people and studies list them as choices.
    pub const THESIS: [Design; 6] = [
        Design::PROBABILITY_CLOSER,
        Design::PROBABILITY_APART,
        Design::ATTENTION_CLOSER,
        Design::ATTENTION_APART,
        Design::BOTH_CLOSER,
        Design::BOTH_APART,
    ];

    /// To build designs from.
    const NONE: Design = Design { directions: [None; Knowledge::ALL.len()] };

    /// The design with one more term.
    const fn and(mut self, knowledge: Knowledge, direction: Direction) -> Design {
        self.directions[knowledge as usize] = Some(direction);
        self
    }

    /// The design of some terms, whose order does not matter.
    ///
    /// # Errors
    /// If there is no term, or a knowledge is there twice.
    pub fn new(terms: impl IntoIterator<Item = Term>) -> Result<Design, Error> {
        let mut design = Design::NONE;
        for Term { knowledge, direction } in terms {
            if design.directions[knowledge as usize].is_some() {
                return Err(Error::new(format!(
                    "a design has {knowledge} once, closer or apart; leave one of them out"
                )));
            }
            design = design.and(knowledge, direction);
        }
        match design == Design::NONE {
            true => Err(Error::new("a design needs a term, such as \"probability closer\"")),
            false => Ok(design),
        }
    }

    /// Every design there is, by number.
    pub fn all() -> Vec<Design> {
        let count = 3_u8.pow(Knowledge::ALL.len() as u32);
        (1..count).map(Design::of_number).collect()
    }

    /// The number of a design has a digit a knowledge, the first one the lowest: in base three, 0 is none, 1 closer and
    /// 2 apart.
    fn number(self) -> u8 {
        let digit = |direction: &Option<Direction>| direction.map_or(0, |direction| direction as u8 + 1);
        self.directions.iter().rev().fold(0, |number, direction| 3 * number + digit(direction))
    }

    fn of_number(mut number: u8) -> Design {
        let mut design = Design::NONE;
        for direction in &mut design.directions {
            *direction = [None, Some(Direction::Closer), Some(Direction::Apart)][usize::from(number % 3)];
            number /= 3;
        }
        design
    }

    /// The number in the hashed encoding of graphs: those of the thesis have 1 to 6.
    pub(crate) fn code(self) -> u8 {
        match Design::THESIS.iter().position(|design| *design == self) {
            Some(place) => place as u8 + 1,
            None => LAST_NAMED_CODE + self.number(),
        }
    }

    /// The terms, in the order of [`Knowledge::ALL`].
    pub fn terms(self) -> impl Iterator<Item = Term> {
        let terms = Knowledge::ALL.into_iter().zip(self.directions);
        terms.filter_map(|(knowledge, direction)| Some(Term { knowledge, direction: direction? }))
    }

    /// Whether a term is about this output.
    pub fn reads(self, output: Output) -> bool {
        self.terms().any(|term| term.knowledge.output() == output)
    }

    /// The direction that all terms have; `None` if they differ.
    pub fn direction(self) -> Option<Direction> {
        let mut terms = self.terms();
        let first = terms.next()?.direction;
        terms.all(|term| term.direction == first).then_some(first)
    }

    /// The same knowledge in the other direction, term by term.
    pub fn flipped(self) -> Design {
        Design { directions: self.directions.map(|direction| direction.map(Direction::flipped)) }
    }

    /// The word that stands for the knowledge of both designs of the thesis that have two terms.
    fn is_both(self) -> bool {
        self == Design::BOTH_CLOSER || self == Design::BOTH_APART
    }

    /// What pictures write, a line each: `Attention apart`, `Both closer`, or the terms of any other design.
    pub fn labels(self) -> Vec<String> {
        match self.direction() {
            Some(direction) if self.is_both() => vec![format!("Both {direction}")],
            _ => self.terms().map(|term| format!("{} {}", term.knowledge.label(), term.direction)).collect(),
        }
    }
}

impl fmt::Display for Design {
    /// The name used in files and messages, such as `attention apart`, `both closer`, or the terms of any other design:
    /// `probability closer + attention apart`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.direction() {
            Some(direction) if self.is_both() => f.pad(&format!("both {direction}")),
            _ => f.pad(&self.terms().map(|term| term.to_string()).collect::<Vec<_>>().join(" + ")),
        }
    }
}

impl FromStr for Design {
    type Err = Error;

    /// Reads what is [displayed](fmt::Display), terms in any order. A `-` or `_` may stand for the space, `prob` and `att`
    /// for the long words, and the case does not matter.
    fn from_str(text: &str) -> Result<Design, Error> {
        if let Some(error) = comma_between_terms(text) {
            return Err(error);
        }
        let mut terms = Vec::new();
        for (i, part) in text.split('+').enumerate() {
            if part.trim().is_empty() && text.contains('+') {
                let side = if i == 0 { "before" } else { "after" };
                return Err(Error::new(format!("a term is missing {side} \"+\" in the design {:?}", text.trim())));
            }
            terms.extend(part_of_name(part).ok_or_else(|| unknown(part))?.terms());
        }
        Design::new(terms)
    }
}

/// The error of a text, a design or a transfer, in which a comma joins two designs.
pub(crate) fn comma_between_terms(text: &str) -> Option<Error> {
    let (first, rest) = text.split_once(',')?;
    let is_design = |text: &str| text.parse::<Design>().is_ok();
    let joined = is_design(first) && is_design(rest.split(',').next()?);
    let (first, rest) = (first.trim(), rest.trim());
    joined.then(|| Error::new(format!("terms of a design are joined by \" + \"; write \"{first} + {rest}\"")))
}

/// A design that is not written as a sum.
fn part_of_name(text: &str) -> Option<Design> {
    let lower = text.to_ascii_lowercase().replace(['-', '_'], " ");
    let words: Vec<&str> = lower.split_whitespace().collect();
    let [knowledge, direction] = words[..] else { return None };
    let direction = Direction::ALL.into_iter().find(|known| known.to_string() == direction)?;
    let design = match knowledge {
        "both" => Design::BOTH_CLOSER,
        word => Design::NONE.and(Knowledge::of_word(word)?, Direction::Closer),
    };
    Some(if direction == Direction::Closer { design } else { design.flipped() })
}

fn unknown(part: &str) -> Error {
    let single = Design::all().into_iter().filter(|design| design.terms().count() == 1);
    let others = single.filter(|design| !Design::THESIS.contains(design));
    let names: Vec<String> = Design::THESIS.into_iter().chain(others).map(|design| design.to_string()).collect();
    words::unknown("design", part.trim(), names.iter().map(String::as_str))
}

impl From<Design> for String {
    fn from(design: Design) -> String {
        design.to_string()
    }
}

impl TryFrom<String> for Design {
    type Error = Error;

    fn try_from(text: String) -> Result<Design, Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_round_trip_and_codes_are_distinct() {
        let all = Design::all();
        for design in &all {
            assert_eq!(design.to_string().parse(), Ok(*design));
            assert_eq!(design.labels().join(" + ").parse(), Ok(*design), "labels read back too");
            assert_eq!(serde_json::to_string(design).unwrap(), format!("\"{design}\""));
            assert_eq!(Design::of_number(design.number()), *design);
            assert_eq!(Design::new(design.terms()), Ok(*design));
            assert_eq!(design.flipped().flipped(), *design);
            assert!(design.direction().is_none() || design.flipped().direction() != design.direction());
        }
        assert_eq!(all.len(), 3_usize.pow(Knowledge::ALL.len() as u32) - 1);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        assert_eq!(all.iter().map(|design| design.code()).collect::<HashSet<_>>().len(), all.len());
    }

    /// Files, studies and hashes have them.
    #[test]
    fn the_thesis_names_and_codes_stay() {
        let names = ["probability closer", "probability apart", "attention closer", "attention apart", "both closer"];
        for (i, (design, name)) in Design::THESIS.into_iter().zip([&names[..], &["both apart"]].concat()).enumerate() {
            assert_eq!(design.to_string(), name);
            assert_eq!(usize::from(design.code()), i + 1);
            assert_eq!(design.labels().len(), 1);
        }
    }

    #[test]
    fn the_codes_of_mixed_designs_stay() {
        let code = |name: &str| name.parse::<Design>().unwrap().code();
        assert_eq!(code("probability closer + attention apart"), 16 + 1 + 2 * 3);
        assert_eq!(code("probability apart + attention closer"), 16 + 2 + 3);
        assert_eq!(code("relation closer"), 16 + 9);
        assert_eq!(code("probability closer + attention closer + relation apart"), 16 + 1 + 3 + 2 * 9);
    }

    #[test]
    fn other_spellings() {
        for text in ["attention apart", "att-apart", "Attention_Apart", " att  apart "] {
            assert_eq!(text.parse(), Ok(Design::ATTENTION_APART), "{text:?}");
        }
        assert_eq!("prob closer".parse(), Ok(Design::PROBABILITY_CLOSER));
        assert_eq!("att closer + prob closer".parse(), Ok(Design::BOTH_CLOSER));
        let mixed: Design = "Att-apart +prob closer".parse().unwrap();
        assert_eq!(mixed.to_string(), "probability closer + attention apart");
        assert_eq!(mixed.labels(), ["Prob closer", "Attention apart"]);
        assert_eq!(mixed.direction(), None);
        assert_eq!(mixed.flipped().to_string(), "probability apart + attention closer");
    }

    #[test]
    fn unknown_names_get_a_suggestion() {
        let message = |text: &str| text.parse::<Design>().unwrap_err().to_string();
        let error = message("probability closer + attention part");
        assert!(
            error.starts_with(
                "unknown design \"attention part\"; did you mean \"attention apart\"? \
                 valid designs: probability closer, "
            ),
            "{error}"
        );
        for text in ["heat", "", "closer", "attention", "attention closer closer"] {
            assert!(message(text).starts_with("unknown design \""), "{}", message(text));
        }
        assert_eq!(
            message("both closer + attention apart"),
            "a design has attention once, closer or apart; leave one of them out"
        );
    }
}
