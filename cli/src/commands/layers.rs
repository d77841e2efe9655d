//! Settings in layers: flags over environment variables over a file over defaults, from one list of options.

use serde::Deserialize;

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
    ($($(#[$doc:meta])* $field:ident: $type:ty = $env:literal;)*) => {
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
        }
    };
}

pub(crate) use options;

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
