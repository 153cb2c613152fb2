//! The names of parameters in the authors' studies.

/// What a parameter of theirs decides. Models are counted from 0, the ensemble node included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// `model_1_name`: a model's network.
    Network(usize),
    /// `02_01_loss`: what model 2 learns from model 1; of model 2 from itself, the label.
    Loss { target: usize, source: usize },
    /// `02_01_gate`.
    Gate { target: usize, source: usize },
    /// `1_is_pretrained`: whether a model is frozen, with weights that their code knows.
    Pretrained(usize),
}

impl Part {
    /// What a parameter of this name decides, if it is one of theirs.
    pub fn parse(name: &str) -> Option<Self> {
        let words: Vec<&str> = name.split('_').collect();
        let number = |word: &str| word.parse::<usize>().ok();
        let part = match words[..] {
            ["model", model, "name"] => Self::Network(number(model)?),
            [model, "is", "pretrained"] => Self::Pretrained(number(model)?),
            [target, source, "loss"] => Self::Loss { target: number(target)?, source: number(source)? },
            [target, source, "gate"] => Self::Gate { target: number(target)?, source: number(source)? },
            _ => return None,
        };
        // So that a part has one name only.
        (part.name() == name).then_some(part)
    }

    /// The parameter's name.
    pub fn name(self) -> String {
        match self {
            Self::Network(model) => format!("model_{model}_name"),
            Self::Loss { target, source } => format!("{target:02}_{source:02}_loss"),
            Self::Gate { target, source } => format!("{target:02}_{source:02}_gate"),
            Self::Pretrained(model) => format!("{model}_is_pretrained"),
        }
    }

    /// The largest number of a model that it is about.
    pub fn last_model(self) -> usize {
        match self {
            Self::Network(model) | Self::Pretrained(model) => model,
            Self::Loss { target, source } | Self::Gate { target, source } => target.max(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        assert_eq!(Part::parse("02_01_loss"), Some(Part::Loss { target: 2, source: 1 }));
        for name in ["model_0_name", "00_12_gate", "10_10_loss", "3_is_pretrained"] {
            assert_eq!(Part::parse(name).map(Part::name).as_deref(), Some(name));
        }
        for name in
            ["", "lr", "2_1_loss", "002_01_gate", "model_x_name", "model_+1_name", "01_02_loss_weight", "-1_01_gate"]
        {
            assert_eq!(Part::parse(name), None, "{name}");
        }
    }
}
