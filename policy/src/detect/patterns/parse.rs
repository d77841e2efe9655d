//! An expression as it is written: parsed, judged, and what is wrong with it said to people.

use regex_syntax::{ParserBuilder, ast, hir::Hir};

use super::{MAX_COMPILED, MAX_NESTING, MAX_PATTERN_LEN, PatternSource, search};
use crate::{
    detect::{Problem, ProblemKind},
    diag::Severity,
};

/// Parses and judges an expression before it is compiled.
pub(super) fn parse(source: &PatternSource<'_>) -> Result<Hir, Problem> {
    let PatternSource { id, regex, case_insensitive } = *source;
    if regex.len() > MAX_PATTERN_LEN {
        return Err(error(
            ProblemKind::PatternTooLarge,
            format!("pattern `{id}` has {} bytes, the limit is {MAX_PATTERN_LEN}", regex.len()),
            Some("split it into several patterns"),
        ));
    }
    let hir = ParserBuilder::new()
        .nest_limit(MAX_NESTING)
        .case_insensitive(case_insensitive)
        .build()
        .parse(regex)
        .map_err(|cause| syntax_problem(id, &cause))?;
    match hir.properties().minimum_len() {
        Some(0) => {
            return Err(error(
                ProblemKind::PatternMatchesEverything,
                format!("pattern `{id}` matches the empty text"),
                Some("let it ask for at least one character (`+` instead of `*`)"),
            ));
        }
        None => {
            return Err(error(
                ProblemKind::PatternSyntax,
                format!("pattern `{id}` can never match"),
                Some("look for a class without members, such as `[a&&b]`"),
            ));
        }
        Some(_) => {}
    }
    if search::matches_everything(&hir) {
        return Err(error(
            ProblemKind::PatternMatchesEverything,
            format!("pattern `{id}` matches every text"),
            Some("let it ask for something that ordinary texts don't hold"),
        ));
    }
    Ok(hir)
}

fn syntax_problem(id: &str, cause: &regex_syntax::Error) -> Problem {
    let (what, place, help) = match cause {
        regex_syntax::Error::Parse(cause) => {
            let help = match cause.kind() {
                ast::ErrorKind::UnsupportedLookAround => Some(
                    "look-ahead and look-behind are not supported, so that search time is bounded: match what stands around, or use `\\b`",
                ),
                ast::ErrorKind::UnsupportedBackreference => Some(
                    "back references are not supported, so that search time is bounded: write the text out",
                ),
                ast::ErrorKind::NestLimitExceeded(_) => Some("nest fewer groups and repetitions"),
                _ => None,
            };
            (cause.kind().to_string(), cause.span().start.column, help)
        }
        regex_syntax::Error::Translate(cause) => (cause.kind().to_string(), cause.span().start.column, None),
        _ => ("not an expression".to_owned(), 1, None),
    };
    // The library's sentences may run over lines and end with a full stop.
    let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
    let what = what.trim_end_matches('.');
    let kind = match cause {
        regex_syntax::Error::Parse(cause) if matches!(cause.kind(), ast::ErrorKind::NestLimitExceeded(_)) => {
            ProblemKind::PatternTooLarge
        }
        _ => ProblemKind::PatternSyntax,
    };
    error(kind, format!("pattern `{id}` is not valid at character {place}: {what}"), help)
}

pub(super) fn too_large(source: &PatternSource<'_>) -> Problem {
    error(
        ProblemKind::PatternTooLarge,
        format!("pattern `{}` compiles to more than {} MiB", source.id, MAX_COMPILED >> 20),
        Some("use smaller repetition counts, or ASCII classes such as `[0-9]` in the place of `\\d`"),
    )
}

pub(super) fn error(kind: ProblemKind, message: String, help: Option<&str>) -> Problem {
    Problem { path: String::new(), severity: Severity::Error, kind, message, help: help.map(str::to_owned) }
}
