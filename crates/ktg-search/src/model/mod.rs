//! A statistical model of graphs: what their edges are good for, so that what one training says about a graph also says
//! something about the graphs that share edges with it, and luck counts for less.

mod features;
mod regression;

pub(crate) use features::{Columns, features};
pub(crate) use regression::{Regression, Row};
