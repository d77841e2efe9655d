//! `kt init [--template NAME]`

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    exit::{CliError, Exit},
    output::note,
};

/// Writes a first pack with tests.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder to write into.
    #[arg(default_value = ".", value_name = "FOLDER")]
    folder: PathBuf,

    /// What to start from.
    #[arg(long, value_enum, default_value_t)]
    template: Template,

    /// Replaces files that are there already.
    #[arg(long)]
    force: bool,
}

/// The packs to start from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Template {
    /// All policies, for a Databricks workspace.
    #[default]
    Databricks,
    /// Watches for prompt injection, refuses nothing.
    PromptInjectionDetection,
    /// Only targets that keep nothing, in named regions.
    ZeroDataRetention,
    /// No credential leaves in a prompt.
    Secrets,
}

macro_rules! template {
    ($name:literal) => {
        [
            ("policy-config.yaml", include_str!(concat!("../../templates/", $name, "/policy-config.yaml"))),
            ("tests/first.yaml", include_str!(concat!("../../templates/", $name, "/tests/first.yaml"))),
        ]
    };
}

// === impl Template ===

impl Template {
    /// The files of the template, by path below the folder.
    pub(crate) const fn files(self) -> [(&'static str, &'static str); 2] {
        match self {
            Self::Databricks => template!("databricks"),
            Self::PromptInjectionDetection => template!("prompt-injection-detection"),
            Self::ZeroDataRetention => template!("zero-data-retention"),
            Self::Secrets => template!("secrets"),
        }
    }
}

/// Writes the files. Nothing is written when one of them is there already.
pub(crate) fn run(args: &Args) -> Result<Exit, CliError> {
    let files = args.template.files();
    if !args.force {
        for (name, _) in files {
            let path = args.folder.join(name);
            if path.try_exists().map_err(|error| unwritable(&path, &error))? {
                return Err(CliError::failure(format!("`{}` is there already", path.display()))
                    .with_help("name another folder, or replace the files with `--force`"));
            }
        }
    }
    for (name, text) in files {
        let path = args.folder.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
        }
        fs::write(&path, text).map_err(|error| unwritable(&path, &error))?;
        note(&format!("wrote {}", path.display()));
    }
    note("next: kt policy lint policy-config.yaml && kt policy test");
    Ok(Exit::Success)
}

fn unwritable(path: &Path, error: &io::Error) -> CliError {
    CliError::failure(format!("can't write `{}`: {error}", path.display()))
}
