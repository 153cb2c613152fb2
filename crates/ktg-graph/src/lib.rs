//! What a knowledge transfer graph is.
//!
//! A [`Graph`] says which networks are trained together and who teaches whom: one label edge into
//! every network node, and one transfer edge for every ordered pair of nodes. A transfer edge has a
//! loss [`Design`] (which knowledge, closer or apart) and every edge has a [`Gate`] (a weight over
//! time or by correctness). The ensemble node, which averages the logits of all networks (thesis
//! eq. 5), is implied and never written.
//!
//! This crate knows no tensors: it reads and checks graph files ([`Document`]), recognises equal
//! graphs under any numbering of the nodes ([`Graph::hash`]) and offers well-known graphs
//! ([`presets`]).
//!
//! ```
//! use ktg_graph::{Design, Document, Gate};
//!
//! let text = r#"
//! [nodes]
//! 1 = "abn-resnet-18"
//! 2 = "abn-resnet-18"
//!
//! [edges]
//! "label -> 1" = "through"
//! "label -> 2" = "through"
//! "1 -> 2" = "attention apart, linear"
//! "#;
//! let graph = Document::parse_toml(text, "example.toml")?.graph;
//!
//! // Files count nodes from 1, code counts from 0.
//! let transfer = graph.transfer(0, 1).expect("written above");
//! assert_eq!(transfer.design, Design::ATTENTION_APART);
//! assert_eq!(transfer.gate, Gate::Linear);
//! # Ok::<(), ktg_graph::Error>(())
//! ```

pub mod authors;
mod canonical;
mod design;
mod error;
mod file;
mod gate;
mod graph;
mod knowledge;
mod labelling;
pub mod presets;
mod transfer;
mod tuning;
mod words;

pub use canonical::GraphHash;
pub use design::{Design, Direction, Term};
pub use error::Error;
pub use file::{Document, import_authors_config, parse_edge};
pub use gate::Gate;
pub use graph::{Graph, MAX_NODES, Node, edge_name};
pub use knowledge::{Knowledge, Output};
pub use transfer::Transfer;
pub use tuning::{Factor, Freeze};
