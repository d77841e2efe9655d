//! What `kt` prints: data on stdout, everything else on stderr.

pub(crate) mod diagnostics;
pub(crate) mod sanitize;

use std::io::{self, Write as _};

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::exit::CliError;
use sanitize::clean;

/// The form of the data on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people: a table or a few lines.
    #[default]
    Table,
    /// One JSON document, or one a line for a stream of records.
    Json,
    /// One YAML document, or several for a stream of records.
    Yaml,
}

/// Prints `data` in the form asked for; `human` writes the form for people.
pub(crate) fn print<T: Serialize>(
    format: Format,
    data: &T,
    human: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
) -> Result<(), CliError> {
    write(human, || match format {
        Format::Table => Ok(None),
        Format::Json => json(serde_json::to_string_pretty(data)).map(Some),
        Format::Yaml => yaml(data).map(Some),
    })
}

/// Prints one record of a stream: a line of JSON, or a YAML document.
pub(crate) fn print_record<T: Serialize>(
    format: Format,
    data: &T,
    human: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
) -> Result<(), CliError> {
    write(human, || match format {
        Format::Table => Ok(None),
        Format::Json => json(serde_json::to_string(data)).map(Some),
        Format::Yaml => Ok(Some(format!("---\n{}", yaml(data)?))),
    })
}

/// Writes the form for programs where there is one, and the one for people otherwise.
fn write(
    human: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
    machine: impl FnOnce() -> Result<Option<String>, CliError>,
) -> Result<(), CliError> {
    let text = machine()?;
    let mut out = anstream::stdout().lock();
    match text {
        Some(text) => out.write_all(text.as_bytes())?,
        None => human(&mut out)?,
    }
    out.flush()?;
    Ok(())
}

fn json(text: serde_json::Result<String>) -> Result<String, CliError> {
    let mut text = text.map_err(|error| CliError::failure(format!("can't write JSON: {error}")))?;
    text.push('\n');
    Ok(text)
}

fn yaml<T: Serialize>(data: &T) -> Result<String, CliError> {
    let mut text = serde_saphyr::to_string(data)
        .map_err(|error| CliError::failure(format!("can't write YAML: {error}")))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// A table without borders, every cell made safe for a terminal.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> impl std::fmt::Display {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| clean(&cell).into_owned()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    // The crate pads the last column too; trailing blanks help nobody.
    let mut text = String::new();
    for line in table.to_string().lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Facts of one thing, a line each, every value made safe for a terminal.
pub(crate) fn facts<'a>(facts: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let facts: Vec<_> = facts.into_iter().collect();
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let line = |(name, value): (&str, String)| format!("{name:width$}  {}\n", clean(&value));
    facts.into_iter().map(line).collect::<Vec<_>>().concat()
}

/// A line for people on stderr.
pub(crate) fn note(message: &str) {
    let mut err = anstream::stderr().lock();
    // Nothing is left to tell when stderr itself is gone.
    let _ = writeln!(err, "{}", clean(message));
}
