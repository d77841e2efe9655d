//! Texts with a label, and what the detector sees of them.

use std::{error::Error, fs, path::Path};

use kt_policy::{
    detect::{
        Scratch,
        injection::{InjectionDetector, model::ViewFeatures},
    },
    pack::kinds::{DetectorSwitch, PromptInjection},
};
use serde::{Deserialize, Serialize};

/// One line of a file of texts; the form is that of the development data.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sample {
    /// Unique in its file.
    pub id: String,
    /// `injection`.
    pub task: String,
    /// What is scanned.
    pub text: String,
    /// 1: an attempt to override the model's instructions; 0: none.
    pub label: u8,
    /// Where it comes from.
    pub source: String,
    /// What it is an example of.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// Reads a file of JSON Lines.
pub fn read(path: &Path) -> Result<Vec<Sample>, Box<dyn Error>> {
    let data =
        fs::read_to_string(path).map_err(|error| format!("can't read `{}`: {error}", path.display()))?;
    let line = |line| serde_json::from_str(line).map_err(Into::into);
    data.lines().filter(|line| !line.trim().is_empty()).map(line).collect()
}

/// A text as the trainer needs it.
#[derive(Debug)]
pub struct Example {
    /// Whether it is an attempt.
    pub attack: bool,
    /// The source of its sample.
    pub source: String,
    /// Each way in which it is read.
    pub views: Vec<ViewFeatures>,
}

/// Reads texts as the detector does.
#[derive(Debug)]
pub struct Reader {
    rules: InjectionDetector,
    scratch: Scratch,
}

impl Reader {
    /// A reader with every rule and without the model.
    pub fn new() -> Result<Self, Box<dyn Error>> {
        let mut settings = PromptInjection { threshold: 1.0, ..PromptInjection::default() };
        settings.detectors.model = DetectorSwitch::Off;
        let (rules, problems) = InjectionDetector::compile(&settings);
        let rules = rules.ok_or_else(|| format!("{problems:?}"))?;
        Ok(Self { rules, scratch: Scratch::default() })
    }

    /// What the detector sees of `sample`.
    pub fn example(&mut self, sample: &Sample) -> Example {
        let views = self.rules.features(&sample.text, &mut self.scratch);
        Example { attack: sample.label == 1, source: sample.source.clone(), views }
    }
}
