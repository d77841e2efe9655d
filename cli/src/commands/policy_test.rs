//! `kt policy test`: requests with expected answers, from files and from the pack itself.

mod case;

use std::{
    fs,
    path::{Path, PathBuf},
};

use kt_policy::{
    compiled::CompiledPack,
    evaluate::Workspace,
    models::ModelTable,
    pack::{TestCase, TestSuite},
};
use serde::Serialize;

use super::pack_file::{self, counted};
use crate::{
    exit::{CliError, Exit},
    output::{Format, print, table},
};

/// Runs the tests of a pack: `tests/*.yaml` and `tests/*.json` beside it, and its own `testing.suites`.
///
/// Exits 0 when all pass, 1 when one fails, 2 when something can't be read.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The pack.
    #[arg(default_value = "policy-config.yaml", value_name = "FILE")]
    policy_config: PathBuf,

    /// The folder of the test files. Default: `tests` beside the pack.
    #[arg(long, value_name = "FOLDER")]
    tests: Option<PathBuf>,

    /// Runs only cases whose name holds this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
}

/// What is printed.
#[derive(Serialize)]
struct Report {
    ok: bool,
    passed: usize,
    failed: usize,
    results: Vec<CaseResult>,
}

#[derive(Serialize)]
struct CaseResult {
    suite: String,
    name: String,
    passed: bool,
    verdict: Option<&'static str>,
    code: Option<String>,
    /// The first thing that is not as expected.
    difference: Option<String>,
}

/// Runs every case.
pub(crate) fn run(format: Format, args: &Args) -> Result<Exit, CliError> {
    let source = pack_file::read(&args.policy_config)?;
    let checked = kt_policy::check(&source, &super::lint_options());
    let (Some(pack), Some(parsed)) = (checked.pack, checked.parsed) else {
        pack_file::draw(&args.policy_config, &source, &checked.findings)?;
        return Err(CliError::usage(format!("`{}` is not a valid pack", args.policy_config.display())));
    };
    let mut suites = suites_of(args)?;
    suites.extend(parsed.pack.testing.map(|testing| testing.suites).unwrap_or_default());
    let wanted = |case: &TestCase| args.filter.as_ref().is_none_or(|text| case.name.contains(text.as_str()));
    let models = ModelTable::built_in();
    let mut work = Workspace::default();
    let mut results = Vec::new();
    for suite in &suites {
        for case in suite.cases.iter().filter(|case| wanted(case)) {
            results.push(result(&pack, models, &suite.name, case, &mut work));
        }
    }
    if results.is_empty() {
        return Err(CliError::usage("there are no tests to run").with_help(
            "write cases into tests/*.yaml beside the pack, or into `testing.suites` of the pack",
        ));
    }
    let passed = results.iter().filter(|result| result.passed).count();
    let report = Report { ok: passed == results.len(), passed, failed: results.len() - passed, results };
    print(format, &report, |out| {
        let rows = report.results.iter().map(|result| {
            let mark = if result.passed { "ok" } else { "FAILED" };
            let verdict = result.verdict.unwrap_or("-");
            [
                mark.to_owned(),
                result.suite.clone(),
                result.name.clone(),
                verdict.to_owned(),
                result.difference.clone().unwrap_or_default(),
            ]
        });
        write!(out, "{}", table(["", "SUITE", "CASE", "VERDICT", "DIFFERENCE"], rows))?;
        writeln!(out, "{} passed, {} failed", report.passed, report.failed)
    })?;
    Ok(if report.ok { Exit::Success } else { Exit::Findings })
}

fn result(
    pack: &CompiledPack,
    models: &ModelTable,
    suite: &str,
    case: &TestCase,
    work: &mut Workspace,
) -> CaseResult {
    let outcome = case::run(pack, models, case, work);
    CaseResult {
        suite: suite.to_owned(),
        name: case.name.clone(),
        passed: outcome.difference.is_none(),
        verdict: outcome.verdict,
        code: outcome.code,
        difference: outcome.difference,
    }
}

/// The suites of the test files, in the order of their names.
fn suites_of(args: &Args) -> Result<Vec<TestSuite>, CliError> {
    let folder = match &args.tests {
        Some(folder) => folder.clone(),
        None => args.policy_config.parent().unwrap_or(Path::new("")).join("tests"),
    };
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        // Without `--tests` the folder need not be there.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && args.tests.is_none() => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(CliError::usage(format!("can't read `{}`: {error}", folder.display()))),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry
            .map_err(|error| CliError::usage(format!("can't read `{}`: {error}", folder.display())))?
            .path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json")
        {
            files.push(path);
        }
    }
    files.sort();
    let mut suites = Vec::with_capacity(files.len());
    let mut errors = 0;
    for path in &files {
        let source = pack_file::read(path)?;
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let (found, findings) = kt_policy::pack::parse_tests(&source, &stem);
        errors += findings.iter().filter(|finding| finding.is_error()).count();
        pack_file::draw(path, &source, &findings)?;
        suites.extend(found);
    }
    if errors > 0 {
        return Err(CliError::usage(format!("the test files have {}", counted(errors, "error"))));
    }
    Ok(suites)
}
