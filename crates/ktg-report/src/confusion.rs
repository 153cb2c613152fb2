//! Which classes are taken for which: counts of answers, class by class.

use std::collections::BTreeMap;
use std::fmt;

use ktg_figures::table::{Cell, Column, Table};
use serde::Serialize;

use crate::answers::Answer;
use crate::cells::number_or_dash;

/// How a run's answers are spread over the classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Confusion {
    /// Names of the classes.
    names: Vec<String>,
    /// Images by their class and the class that the ensemble finds likeliest; pairs that do not occur are left out.
    counts: BTreeMap<(usize, usize), usize>,
    /// Images of each class.
    images: Vec<usize>,
    /// Right answers of all nodes to the images of each class.
    node_hits: Vec<usize>,
    /// How many nodes answered.
    nodes: usize,
}

/// How well a class is known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassFigures {
    /// The class.
    pub class: String,
    /// Images of the class.
    pub images: usize,
    /// Share of them that the ensemble knows, in percent; `None` if there are none.
    pub ensemble: Option<f64>,
    /// The same share of the nodes, on average.
    pub node_average: Option<f64>,
    /// The other class that the ensemble takes most of its images for.
    pub taken_for: Option<String>,
    /// How many of its images are taken for that one.
    pub taken: usize,
}

/// Images of one class that are taken for another. Its text is a sentence such as `12 of 37 "a" are called "b"`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConfusedPair {
    /// The images' class.
    pub class: String,
    /// The class that the ensemble takes them for.
    pub taken_for: String,
    /// How many are.
    pub count: usize,
    /// Images of the class.
    pub images: usize,
    /// Places of the two classes among all.
    #[serde(skip)]
    pub labels: [usize; 2],
}

impl fmt::Display for ConfusedPair {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let verb = if self.count == 1 { "is" } else { "are" };
        write!(f, "{} of {} \"{}\" {verb} called \"{}\"", self.count, self.images, self.class, self.taken_for)
    }
}

impl Confusion {
    /// Counts answers about classes of these names.
    pub fn of(answers: &[Answer], names: &[String]) -> Self {
        let mut confusion = Self {
            names: names.to_vec(),
            counts: BTreeMap::new(),
            images: vec![0; names.len()],
            node_hits: vec![0; names.len()],
            nodes: answers.first().map_or(0, |answer| answer.nodes.len()),
        };
        for answer in answers {
            *confusion.counts.entry((answer.label, answer.ensemble)).or_default() += 1;
            confusion.images[answer.label] += 1;
            confusion.node_hits[answer.label] += answer.nodes.iter().filter(|node| **node == answer.label).count();
        }
        confusion
    }

    /// Names of the classes.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How many images of class `label` the ensemble takes for class `answer`.
    pub fn count(&self, label: usize, answer: usize) -> usize {
        self.counts.get(&(label, answer)).copied().unwrap_or(0)
    }

    /// The same as a share of the class's images, 0 to 1; `None` of a class without images.
    pub fn share(&self, label: usize, answer: usize) -> Option<f64> {
        let images = self.images[label];
        (images > 0).then(|| self.count(label, answer) as f64 / images as f64)
    }

    /// All counts: a row a class, a column an answer.
    pub fn matrix(&self) -> Vec<Vec<usize>> {
        let classes = 0..self.names.len();
        classes.clone().map(|label| classes.clone().map(|answer| self.count(label, answer)).collect()).collect()
    }

    /// Every class, the worst first; those without images come last.
    pub fn classes(&self) -> Vec<ClassFigures> {
        let mut classes: Vec<ClassFigures> = (0..self.names.len()).map(|label| self.class(label)).collect();
        let shown = |class: &ClassFigures| class.ensemble.unwrap_or(f64::INFINITY);
        // Equal ones stay in the order of the classes.
        classes.sort_by(|a, b| shown(a).total_cmp(&shown(b)));
        classes
    }

    fn class(&self, label: usize) -> ClassFigures {
        let images = self.images[label];
        let answers = self.counts.range((label, 0)..(label + 1, 0)).filter(|((_, answer), _)| *answer != label);
        // Of equal counts, the first class.
        let most = answers.max_by_key(|((_, answer), count)| (**count, std::cmp::Reverse(*answer)));
        let per_image = |hits: usize, answers: usize| (answers > 0).then(|| 100.0 * hits as f64 / answers as f64);
        ClassFigures {
            class: self.names[label].clone(),
            images,
            ensemble: per_image(self.count(label, label), images),
            node_average: per_image(self.node_hits[label], images * self.nodes),
            taken_for: most.map(|((_, answer), _)| self.names[*answer].clone()),
            taken: most.map_or(0, |(_, count)| *count),
        }
    }

    /// Pairs of classes of which one is taken for the other, those of most images first; of equally many, those of the
    /// larger share of the class.
    pub fn pairs(&self) -> Vec<ConfusedPair> {
        let wrong = self.counts.iter().filter(|((label, answer), _)| label != answer);
        let pair = |(&(label, answer), &count): (&(usize, usize), &usize)| ConfusedPair {
            class: self.names[label].clone(),
            taken_for: self.names[answer].clone(),
            count,
            images: self.images[label],
            labels: [label, answer],
        };
        let mut pairs: Vec<ConfusedPair> = wrong.map(pair).collect();
        pairs.sort_by_key(|pair| (std::cmp::Reverse(pair.count), pair.images));
        pairs
    }

    /// The classes of the most confused pairs, at most so many, in the order of the classes.
    pub fn most_confused(&self, most: usize) -> Vec<usize> {
        let mut classes: Vec<usize> = Vec::new();
        for pair in self.pairs() {
            let new: Vec<usize> = pair.labels.into_iter().filter(|label| !classes.contains(label)).collect();
            if classes.len() + new.len() <= most {
                classes.extend(new);
            }
        }
        classes.sort_unstable();
        classes
    }

    /// Every class as a table, the worst first.
    pub fn table(&self) -> Table {
        let columns = [
            Column::left("class"),
            Column::right("images"),
            Column::right("ensemble [%]"),
            Column::right("node average [%]"),
            Column::left("most often taken for"),
        ];
        let mut table = Table::new("Classes, the worst first", columns);
        for class in self.classes() {
            let taken_for = class.taken_for.map_or("-".to_owned(), |name| format!("{name} ({})", class.taken));
            table.row([
                Cell::text(class.class),
                Cell::text(class.images.to_string()),
                number_or_dash(class.ensemble, 1),
                number_or_dash(class.node_average, 1),
                Cell::text(taken_for),
            ]);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer of two nodes and the ensemble.
    fn answer(label: usize, nodes: [usize; 2], ensemble: usize) -> Answer {
        Answer {
            image: 0,
            label,
            nodes: nodes.to_vec(),
            ensemble,
            confidence: 1.0,
            attention_disagreement: None,
            probability_disagreement: 0.0,
        }
    }

    /// Four cats, of which two are called dog and one fish; two dogs, both known; one fish, called dog; no owl.
    fn confusion() -> Confusion {
        let names = ["cat", "dog", "fish", "owl"].map(str::to_owned);
        let answers = [
            answer(0, [0, 0], 0),
            answer(0, [1, 0], 1),
            answer(0, [1, 1], 1),
            answer(0, [2, 1], 2),
            answer(1, [1, 1], 1),
            answer(1, [1, 0], 1),
            answer(2, [1, 2], 1),
        ];
        Confusion::of(&answers, &names)
    }

    #[test]
    fn counts_are_of_classes_and_answers() {
        let expected = vec![vec![1, 2, 1, 0], vec![0, 2, 0, 0], vec![0, 1, 0, 0], vec![0; 4]];
        assert_eq!(confusion().matrix(), expected);
        assert_eq!([confusion().share(0, 1), confusion().share(3, 0)], [Some(0.5), None]);
    }

    #[test]
    fn the_worst_class_comes_first_and_one_without_images_last() {
        let classes = confusion().classes();
        let names: Vec<&str> = classes.iter().map(|class| &*class.class).collect();
        assert_eq!(names, ["fish", "cat", "dog", "owl"]);
        let cat = &classes[1];
        assert_eq!((cat.images, cat.ensemble, cat.node_average), (4, Some(25.0), Some(37.5)));
        assert_eq!((cat.taken_for.as_deref(), cat.taken), (Some("dog"), 2));
        assert_eq!((classes[2].ensemble, classes[2].taken_for.as_deref()), (Some(100.0), None));
        assert_eq!((classes[3].images, classes[3].ensemble, classes[3].node_average), (0, None, None));
    }

    #[test]
    fn pairs_of_most_images_come_first_and_then_those_of_the_larger_share() {
        let sentences: Vec<String> = confusion().pairs().iter().map(ToString::to_string).collect();
        let expected = [
            "2 of 4 \"cat\" are called \"dog\"",
            "1 of 1 \"fish\" is called \"dog\"",
            "1 of 4 \"cat\" is called \"fish\"",
        ];
        assert_eq!(sentences, expected);
        assert_eq!(confusion().most_confused(2), [0, 1]);
        assert_eq!(confusion().most_confused(9), [0, 1, 2], "a class that is not confused is left out");
    }

    #[test]
    fn of_equal_mistakes_the_first_class_is_named() {
        let names = ["a", "b", "c"].map(str::to_owned);
        let confusion = Confusion::of(&[answer(0, [1, 1], 2), answer(0, [1, 1], 1)], &names);
        assert_eq!(confusion.classes()[0].taken_for.as_deref(), Some("b"));
    }

    #[test]
    fn no_answers_are_no_reason_to_fail() {
        let confusion = Confusion::of(&[], &["a".to_owned()]);
        assert!(confusion.pairs().is_empty() && confusion.most_confused(5).is_empty());
        assert_eq!(confusion.classes()[0].ensemble, None);
    }
}
