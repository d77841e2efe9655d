//! How a command ends: the exit code, and the one line that says why.

use std::{io, process::ExitCode};

/// The exit codes of `kt`, stable for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what was asked.
    Success,
    /// It ran, and found something or failed.
    Findings,
    /// It was called wrongly, or could not read its input.
    Usage,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Findings => 1,
            Exit::Usage => 2,
        })
    }
}

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// Called wrongly, or with input that can't be read.
    #[error("{message}")]
    Usage {
        /// What is wrong and where.
        message: String,
        /// What to do.
        help: Option<String>,
    },
    /// Called rightly, and failed.
    #[error("{message}")]
    Failure {
        /// What is wrong and where.
        message: String,
        /// What to do.
        help: Option<String>,
    },
    /// The reader of our output went away (`kt … | head`): not a failure.
    #[error("the reader of the output went away")]
    BrokenPipe,
}

// === impl CliError ===

impl CliError {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), help: None }
    }

    pub(crate) fn failure(message: impl Into<String>) -> Self {
        Self::Failure { message: message.into(), help: None }
    }

    pub(crate) fn with_help(self, text: impl Into<String>) -> Self {
        let text = Some(text.into());
        match self {
            Self::Usage { message, .. } => Self::Usage { message, help: text },
            Self::Failure { message, .. } => Self::Failure { message, help: text },
            Self::BrokenPipe => Self::BrokenPipe,
        }
    }

    pub(crate) fn help(&self) -> Option<&str> {
        match self {
            Self::Usage { help, .. } | Self::Failure { help, .. } => help.as_deref(),
            Self::BrokenPipe => None,
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } => Exit::Usage,
            Self::Failure { .. } => Exit::Findings,
            Self::BrokenPipe => Exit::Success,
        }
    }
}

/// Errors of writing to stdout. Reading and writing of files is reported with the file's name, never through this.
impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::BrokenPipe
        } else {
            Self::failure(format!("can't write the output: {error}"))
        }
    }
}
