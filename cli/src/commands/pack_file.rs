//! Reading a pack for the commands that need one.

use std::{fs, path::Path};

use kt_policy::{
    compiled::CompiledPack,
    diag::{Diagnostic, LineIndex},
};
use serde::Serialize;

use crate::{
    exit::CliError,
    output::{diagnostics, note},
};

/// Reads a file; a file that can't be read is a usage error.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    fs::read(path).map_err(|error| CliError::usage(format!("can't read `{}`: {error}", path.display())))
}

/// Compiles a pack for use: findings are drawn on stderr, and errors among them end the command.
pub(super) fn compile(path: &Path) -> Result<CompiledPack, CliError> {
    let source = read(path)?;
    let checked = kt_policy::check(&source, &super::lint_options());
    if let Some(pack) = checked.pack {
        return Ok(pack);
    }
    draw(path, &source, &checked.findings)?;
    Err(CliError::usage(format!("`{}` is not a valid pack", path.display())))
}

/// Draws findings on stderr, and counts them in a last line.
pub(super) fn draw(path: &Path, source: &[u8], findings: &[Diagnostic]) -> Result<(), CliError> {
    if findings.is_empty() {
        return Ok(());
    }
    diagnostics::draw(&path.display().to_string(), &String::from_utf8_lossy(source), findings)?;
    let errors = findings.iter().filter(|finding| finding.is_error()).count();
    note(&format!(
        "{}: {}, {}",
        path.display(),
        counted(errors, "error"),
        counted(findings.len() - errors, "warning")
    ));
    Ok(())
}

pub(super) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A finding as data: with line and column beside the bytes.
#[derive(Serialize)]
pub(super) struct Finding<'a> {
    #[serde(flatten)]
    diagnostic: &'a Diagnostic,
    line: Option<usize>,
    column: Option<usize>,
}

/// Findings as data.
pub(super) fn located<'a>(source: &[u8], findings: &'a [Diagnostic]) -> Vec<Finding<'a>> {
    let lines = LineIndex::new(source);
    findings
        .iter()
        .map(|diagnostic| {
            let position = diagnostic.span.map(|span| lines.position(span.start));
            Finding { diagnostic, line: position.map(|at| at.line), column: position.map(|at| at.column) }
        })
        .collect()
}
