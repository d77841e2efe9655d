//! `kt policy lint`

use std::path::PathBuf;

use serde::Serialize;

use super::pack_file::{self, Finding, counted};
use crate::{
    exit::{CliError, Exit},
    output::{Format, print, sanitize::clean},
};

/// Checks packs and shows every finding.
///
/// Exits 0 when there are none or only warnings, 1 with errors (with --strict: also with warnings), 2 when a file can't
/// be read.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The packs.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Warnings fail too.
    #[arg(long)]
    strict: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    file: String,
    valid: bool,
    pack: Option<PackName>,
    chain: Vec<&'static str>,
    findings: Vec<Finding<'a>>,
}

#[derive(Serialize)]
struct PackName {
    name: String,
    version: String,
    digest: String,
}

/// Lints each file; the findings are data with `-o json`, and drawn on stderr for people.
pub(crate) fn run(format: Format, args: &Args) -> Result<Exit, CliError> {
    let mut exit = Exit::Success;
    let mut checked = Vec::with_capacity(args.files.len());
    for path in &args.files {
        let source = pack_file::read(path)?;
        let check = kt_policy::check(&source, &super::lint_options());
        checked.push((path, source, check));
    }
    let mut reports = Vec::with_capacity(checked.len());
    for (path, source, check) in &checked {
        let errors = check.findings.iter().filter(|finding| finding.is_error()).count();
        if errors > 0 || (args.strict && !check.findings.is_empty()) {
            exit = Exit::Findings;
        }
        if format == Format::Table {
            pack_file::draw(path, source, &check.findings)?;
        }
        let pack = check.pack.as_ref().map(|pack| PackName {
            name: pack.id.name.to_string(),
            version: pack.id.version.to_string(),
            digest: format!("sha256:{}", hex::encode(pack.id.digest)),
        });
        let chain = check.pack.iter().flat_map(|pack| &pack.chain).map(|entry| entry.kind.as_str()).collect();
        reports.push(Report {
            file: path.display().to_string(),
            valid: errors == 0,
            pack,
            chain,
            findings: pack_file::located(source, &check.findings),
        });
    }
    print(format, &reports, |out| {
        for report in reports.iter().filter(|report| report.valid) {
            let name = report
                .pack
                .as_ref()
                .map(|pack| format!("{}@{}", pack.name, pack.version))
                .unwrap_or_default();
            let warnings = match report.findings.len() {
                0 => String::new(),
                count => format!(", {}", counted(count, "warning")),
            };
            writeln!(out, "ok {} {name}: {}{warnings}", clean(&report.file), report.chain.join(" → "))?;
        }
        Ok(())
    })?;
    Ok(exit)
}
