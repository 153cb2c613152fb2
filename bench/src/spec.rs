//! How a case of the benchmark is written.

use std::str::FromStr;

use ktg_net::Architecture;

/// What `--case ARCHITECTURE:BATCH:SIDE:CLASSES` says: three such networks, on random images.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseSpec {
    /// Of all networks.
    pub architecture: Architecture,
    /// Images a step.
    pub batch: usize,
    /// Side of the images, in pixels.
    pub side: usize,
    /// Number of classes.
    pub classes: usize,
}

impl FromStr for CaseSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("`{text}` is not ARCHITECTURE:BATCH:SIDE:CLASSES, such as abn-resnet-18:16:224:120");
        let parts: Vec<&str> = text.split(':').collect();
        let [architecture, batch, side, classes] = parts[..] else { return Err(form()) };
        let number = |part: &str| part.parse().ok().filter(|&n: &usize| n > 0).ok_or_else(form);
        Ok(Self {
            architecture: architecture.parse().map_err(|error| format!("{error}"))?,
            batch: number(batch)?,
            side: number(side)?,
            classes: number(classes)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_read_whole_or_refused() {
        let spec: CaseSpec = "abn-resnet-cifar-8:25:14:10".parse().unwrap();
        assert_eq!((spec.architecture.to_string().as_str(), spec.batch), ("abn-resnet-cifar-8", 25));
        assert_eq!((spec.side, spec.classes), (14, 10));
        for text in ["", "abn-resnet-18", "abn-resnet-18:16:224", "abn-resnet-18:16:224:0", "abn-resnet-18:16:x:120"] {
            assert!(text.parse::<CaseSpec>().unwrap_err().contains("ARCHITECTURE:BATCH:SIDE:CLASSES"), "{text}");
        }
        assert!("vgg-16:16:224:120".parse::<CaseSpec>().unwrap_err().contains("there is no network `vgg-16`"));
    }
}
