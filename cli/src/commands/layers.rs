//! Settings in layers: flags over environment variables over a file over defaults, from one list of options.

use std::path::Path;

use serde::{Deserialize, de::DeserializeOwned};

use crate::exit::CliError;

/// The form of log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

macro_rules! options {
    ($command:literal; $($(#[$doc:meta])* $field:ident: $type:ty = $env:literal;)*) => {
        /// What was typed, set or written; absent means not given.
        #[derive(Debug, Default, serde::Deserialize, clap::Args)]
        #[serde(default, deny_unknown_fields)]
        pub(crate) struct Options {
            $($(#[$doc])* #[arg(long, env = $env)] $field: $type,)*
        }

        impl Options {
            /// These options, and those of `below` where these say nothing.
            pub(crate) fn over(self, below: Self) -> Self {
                Self { $($field: $crate::commands::layers::Layer::or_below(self.$field, below.$field),)* }
            }

            /// These options, over those of a settings file where one is named.
            pub(crate) fn over_file(self, file: Option<&std::path::Path>) -> Result<Self, $crate::exit::CliError> {
                match file {
                    Some(path) => {
                        let help = concat!("`", $command, " --help` lists the settings");
                        Ok(self.over($crate::commands::layers::read(path, "a settings file", help)?))
                    }
                    None => Ok(self),
                }
            }

            pub(crate) fn log_format(&self) -> $crate::commands::layers::LogFormat {
                self.log_format.unwrap_or_default()
            }

            pub(crate) fn log_level(&self) -> &str {
                self.log_level.as_deref().unwrap_or("info")
            }
        }
    };
}

pub(crate) use options;

/// Reads the text of a settings file. Errors are one line: without the snippet that the library would draw.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, serde_saphyr::Error> {
    serde_saphyr::from_str_with_options(text, serde_saphyr::options! { with_snippet: false })
}

/// Reads a file of settings: `what` it should be, and `help` where it is not.
pub(crate) fn read<T: DeserializeOwned>(path: &Path, what: &str, help: &str) -> Result<T, CliError> {
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| CliError::usage(format!("can't read `{name}`: {error}")))?;
    parse(&text).map_err(|error| CliError::usage(format!("`{name}` is not {what}: {error}")).with_help(help))
}

/// How one option covers the same option from a lower layer.
pub(crate) trait Layer {
    /// This one, and the one below where this one says nothing.
    fn or_below(self, below: Self) -> Self;
}

impl<T> Layer for Option<T> {
    fn or_below(self, below: Self) -> Self {
        self.or(below)
    }
}

/// A list is taken from one layer as a whole: lists of two layers are not mixed.
impl<T> Layer for Vec<T> {
    fn or_below(self, below: Self) -> Self {
        if self.is_empty() { below } else { self }
    }
}
