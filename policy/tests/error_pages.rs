//! The pages of `docs/errors`: each has a whole text, and its example gives its code.

#![cfg(test)]

use std::fmt::Write as _;

use jiff::Timestamp;
use kt_policy::{
    bind::{BindSettings, bind},
    check,
    codes::{self, CodeInfo},
    diag::Diagnostic,
    lint::LintOptions,
    models::ModelTable,
};

/// Codes whose example would be too long for a page; made here instead.
fn made(info: &CodeInfo) -> Option<Vec<u8>> {
    let pack = "pack: {name: p, version: 1.0.0}\npolicies: {chain: [dlp-filter, pii-detector]}\n";
    match info.code.0 {
        2 => Some(vec![b'#'; 4 * 1024 * 1024 + 1]),
        406 => {
            let mut source = format!("{pack}policy:\n  dlp-filter:\n    builtin: all\n    blocked_terms:\n");
            for number in 0..9_990 {
                writeln!(source, "      - term number {number}").unwrap();
            }
            Some(source.into_bytes())
        }
        _ => None,
    }
}

/// The first fenced block of a page: the words behind its fence, and its text.
fn example(page: &str) -> Option<(Vec<&str>, &str)> {
    let (_, rest) = page.split_once("\n```")?;
    let (fence, rest) = rest.split_once('\n')?;
    let (text, _) = rest.split_once("```")?;
    Some((fence.split_whitespace().collect(), text))
}

fn findings(info: &CodeInfo) -> Vec<Diagnostic> {
    let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
    let options = LintOptions { now, models: ModelTable::built_in() };
    if let Some(source) = made(info) {
        return check(&source, &options).findings;
    }
    let (fence, text) = example(info.page).unwrap_or_else(|| panic!("{} has no example", info.code));
    match fence.as_slice() {
        ["hex"] => {
            let bytes: Vec<u8> =
                text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
            check(&bytes, &options).findings
        }
        ["yaml"] => check(text.as_bytes(), &options).findings,
        ["yaml", "bind", settings @ ..] => {
            let checked = check(text.as_bytes(), &options);
            let pack = checked.pack.unwrap_or_else(|| panic!("{}: {:?}", info.code, checked.findings));
            let mut bound = BindSettings::default();
            let mut variables = Vec::new();
            for setting in settings {
                let (name, value) = setting.split_once('=').unwrap();
                match name {
                    "workspace" => bound.workspace = Some(value.to_owned()),
                    "upstream" => bound.upstream.push(value.to_owned()),
                    _ => variables.push((name.to_owned(), value.to_owned())),
                }
            }
            let lookup = |name: &str| {
                variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
            };
            match bind(&pack, &bound, &lookup) {
                Ok(binding) => binding.warnings,
                Err(refusals) => refusals,
            }
        }
        other => panic!("{}: what is a block of {other:?}?", info.code),
    }
}

#[test]
fn the_example_of_each_page_gives_its_code() {
    for info in codes::ALL {
        let found = findings(info);
        assert!(found.iter().any(|finding| finding.code == info.code), "{}: {found:#?}", info.code);
    }
}

#[test]
fn each_page_has_its_title_and_says_what_to_do() {
    for info in codes::ALL {
        let title = format!("# {}: {}\n\n", info.code, info.title);
        let body =
            info.page.strip_prefix(&title).unwrap_or_else(|| panic!("{} has another title", info.code));
        let (what, todo) = body.split_once("\n\n## What to do\n\n").expect("what to do");
        assert!(what.len() > 40 && todo.len() > 10, "{} is too short", info.code);
    }
}

#[test]
fn numbers_are_unique_and_sorted_and_found_in_any_writing() {
    assert!(codes::ALL.windows(2).all(|pair| pair[0].code < pair[1].code));
    for written in ["KT0101", "kt101", " 101 ", "Kt0101"] {
        assert_eq!(codes::lookup(written).map(|info| info.code), Some(codes::UNKNOWN_KEY), "{written}");
    }
    assert!(
        codes::lookup("KT9999").is_none() && codes::lookup("").is_none() && codes::lookup("ü1").is_none()
    );
}

#[test]
fn there_is_a_code_for_every_page() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let code = name.strip_suffix(".md").unwrap_or(&name);
        assert!(codes::lookup(code).is_some(), "{name}");
    }
}
