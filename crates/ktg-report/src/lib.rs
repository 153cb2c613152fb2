//! Tables, figures and one self-contained report, from run directories, comparisons and studies.
//!
//! Nothing here trains, and nothing is written into what is read. [`compare`] plans and sums up comparisons (the thesis'
//! tables 1 and 2), [`StudyRecord`] reads a study, [`analysis`] asks what its graphs have in common and what each edge of
//! one is good for, and [`report`] puts all of it on one page.

pub mod analysis;
mod answers;
pub mod attention;
mod cells;
pub mod compare;
mod confirmed;
mod confusion;
mod counted;
pub mod figures;
mod mistakes;
mod overlay;
mod placed;
pub mod report;
mod study;
mod unranked;

pub use answers::{Answer, answers, judge};
pub use confirmed::Confirmed;
pub use confusion::{ClassFigures, ConfusedPair, Confusion};
pub use counted::counted;
pub use overlay::overlay;
pub use placed::LeftOut;
pub use study::{Rung, StudyRecord, edges};
pub use unranked::Unranked;
