//! TensorBoard event files: scalars only.
//!
//! The format is TFRecord (length, masked CRC-32C, bytes, masked CRC-32C) around a protocol buffer `Event`. The crates
//! that write it are unmaintained or bring a protobuf compiler, and a scalar needs five fields.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ktg_graph::Knowledge;

use crate::{EpochReport, Error, StepReport};

const PREFIX: &str = "events.out.tfevents.";
const ENDING: &str = ".ktg";

/// Writes one event file. Each process that works on a run writes its own; TensorBoard joins them, and an event
/// that says "started at step k" makes it forget what an earlier process wrote from k on.
pub(crate) struct EventFile {
    file: File,
    path: PathBuf,
    /// When it was begun, since 1970. TensorBoard reads files in the order of these times, which are in their names, so that a
    /// clock that ran back must not be believed.
    begun: Duration,
    clock: Instant,
}

impl EventFile {
    /// Creates `events.out.tfevents.*` in `directory` for a process whose first step is `step`.
    pub fn create(directory: &Path, step: u64) -> Result<Self, Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let begun = last_begun(directory)?.map_or(now, |last| now.max(last + Duration::from_nanos(1)));
        let path = directory.join(file_name(begun));
        let file = File::create(&path).map_err(Error::file("create", &path))?;
        let mut events = Self { file, path, begun, clock: Instant::now() };
        events.write(&event(events.now(), 0, &bytes_field(3, b"brain.Event:2")))?;
        // SessionLog { status: START } at the step from which on older events are void.
        events.write(&event(events.now(), step, &bytes_field(7, &varint_field(1, 1))))?;
        Ok(events)
    }

    /// Adds scalars, by their names, at a step.
    pub fn scalars(&mut self, step: u64, values: &[(String, f64)]) -> Result<(), Error> {
        let summary: Vec<u8> = values
            .iter()
            .flat_map(|(tag, value)| {
                let mut body = bytes_field(1, tag.as_bytes());
                body.push(2 << 3 | 5);
                body.extend((*value as f32).to_le_bytes());
                bytes_field(1, &body)
            })
            .collect();
        self.write(&event(self.now(), step, &bytes_field(5, &summary)))
    }

    /// Seconds since 1970, whatever happens to the system's clock meanwhile.
    fn now(&self) -> f64 {
        (self.begun + self.clock.elapsed()).as_secs_f64()
    }

    fn write(&mut self, event: &[u8]) -> Result<(), Error> {
        let length = (event.len() as u64).to_le_bytes();
        let mut record = length.to_vec();
        record.extend(masked_crc(&length).to_le_bytes());
        record.extend(event);
        record.extend(masked_crc(event).to_le_bytes());
        self.file.write_all(&record).map_err(Error::file("write", &self.path))
    }
}

fn file_name(begun: Duration) -> String {
    format!("{PREFIX}{:010}.{:09}{ENDING}", begun.as_secs(), begun.subsec_nanos())
}

/// When the newest event file in a directory was begun, as its name says.
fn last_begun(directory: &Path) -> Result<Option<Duration>, Error> {
    let mut last = None;
    for entry in std::fs::read_dir(directory).map_err(Error::file("read", directory))? {
        let name = entry.map_err(Error::file("read", directory))?.file_name();
        let time = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(ENDING)?.split_once('.'));
        let begun = time.and_then(|(seconds, nanos)| {
            let seconds = Duration::from_secs(seconds.parse::<u32>().ok()?.into());
            Some(seconds + Duration::from_nanos(nanos.parse::<u32>().ok()?.into()))
        });
        last = last.max(begun);
    }
    Ok(last)
}

/// The scalars of a logged step.
pub(crate) fn step_scalars(report: &StepReport) -> Vec<(String, f64)> {
    let mut scalars = vec![("learning rate".to_owned(), report.learning_rate)];
    for (m, node) in report.nodes.iter().enumerate() {
        scalars.extend(node.loss.map(|loss| (format!("step/loss of node {}", m + 1), loss)));
    }
    for edge in &report.edges {
        scalars.push((format!("step/loss of edge {edge}"), edge.loss));
        if edge.terms.len() > 1 {
            let term =
                |(knowledge, loss): (&Knowledge, &f64)| (format!("step/loss of edge {edge}, {knowledge}"), *loss);
            scalars.extend(edge.terms.iter().map(term));
        }
    }
    scalars
}

/// The scalars of an epoch.
pub(crate) fn epoch_scalars(report: &EpochReport) -> Vec<(String, f64)> {
    let mut scalars = Vec::new();
    for (m, node) in report.train.nodes.iter().enumerate() {
        let m = m + 1;
        scalars.extend(node.loss.map(|v| (format!("train/loss of node {m}"), v)));
        scalars.extend(node.accuracy.map(|v| (format!("train/accuracy of node {m}"), v)));
    }
    if let Some(measures) = &report.evaluation {
        for (m, node) in measures.nodes.iter().enumerate() {
            scalars.push((format!("evaluation/accuracy of node {}", m + 1), node.top1));
        }
        let ensemble = &measures.ensemble;
        scalars.push(("evaluation/accuracy of ensemble".to_owned(), ensemble.accuracy.top1));
        scalars.push(("evaluation/node average".to_owned(), measures.node_average.top1));
        scalars.push(("evaluation/NLL of ensemble".to_owned(), ensemble.nll));
        scalars.push(("evaluation/ECE of ensemble".to_owned(), ensemble.ece));
    }
    scalars
}

fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn varint_field(number: u8, value: u64) -> Vec<u8> {
    [vec![number << 3], varint(value)].concat()
}

fn bytes_field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [vec![number << 3 | 2], varint(bytes.len() as u64), bytes.to_vec()].concat()
}

/// `Event { wall_time, step, <what> }`
fn event(wall_time: f64, step: u64, what: &[u8]) -> Vec<u8> {
    [&[1 << 3 | 1][..], &wall_time.to_le_bytes(), &varint_field(2, step), what].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{EdgeReport, Source};

    #[test]
    fn an_edge_of_several_terms_has_a_scalar_for_each() {
        let edge = |to: usize, terms: &[(Knowledge, f64)]| EdgeReport {
            from: Source::Node(2),
            to,
            loss: terms.iter().map(|(_, loss)| loss).sum(),
            terms: terms.iter().copied().collect(),
        };
        let mixed = [(Knowledge::Probability, 0.5), (Knowledge::Relation, 0.25)];
        let edges = vec![edge(1, &[(Knowledge::Attention, 2.0)]), edge(3, &mixed)];
        let scalars = step_scalars(&StepReport { learning_rate: 0.1, edges, ..StepReport::default() });
        let expected = [
            ("learning rate", 0.1),
            ("step/loss of edge 2 -> 1", 2.0),
            ("step/loss of edge 2 -> 3", 0.75),
            ("step/loss of edge 2 -> 3, probability", 0.5),
            ("step/loss of edge 2 -> 3, relation", 0.25),
        ];
        assert_eq!(scalars, expected.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn files_are_in_the_order_of_the_processes_whatever_the_clock_says() {
        let temporary = tempfile::tempdir().unwrap();
        // The clock was two centuries ahead, and other programs have left files of their own.
        let ahead = file_name(Duration::from_secs(4_000_000_000));
        for name in [&ahead, "events.out.tfevents.1", "events.out.tfevents.99999999999.host.ktg", "notes.txt"] {
            std::fs::write(temporary.path().join(name), "").unwrap();
        }
        let mut names = vec![ahead];
        for step in [1, 7] {
            let file = EventFile::create(temporary.path(), step).unwrap();
            assert!(file.now() >= 4e9);
            names.push(file.path.file_name().unwrap().to_str().unwrap().to_owned());
        }
        assert!(names.is_sorted() && names[1] != names[2], "{names:?}");
    }

    #[test]
    fn the_masked_checksum_is_tensorflows() {
        // CRC-32C of 32 zero bytes is 0x8a9136aa (RFC 3720, appendix B.4).
        assert_eq!(masked_crc(&[0; 32]), 0x8a91_36aa_u32.rotate_right(15).wrapping_add(0xa282_ead8));
    }

    #[test]
    fn an_event_is_framed_and_encoded_as_tensorboard_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut events = EventFile::create(dir.path(), 7).unwrap();
        events.scalars(300, &[("loss".to_owned(), 0.5)]).unwrap();
        let bytes = std::fs::read(&events.path).unwrap();
        let mut at = 0;
        let mut records = Vec::new();
        while at < bytes.len() {
            let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
            let body = &bytes[at + 12..at + 12 + length];
            let crc = u32::from_le_bytes(bytes[at + 12 + length..at + 16 + length].try_into().unwrap());
            assert_eq!(crc, masked_crc(body));
            records.push(body[9..].to_vec());
            at += 16 + length;
        }
        assert_eq!(records[1], [0x10, 7, 0x3a, 2, 8, 1]);
        let scalar = [0x10, 0xac, 0x02, 0x2a, 13, 0x0a, 11, 0x0a, 4, b'l', b'o', b's', b's', 0x15, 0, 0, 0, 0x3f];
        assert_eq!(records[2], scalar);
    }
}
