//! Packs from their bytes to their findings.

#![cfg(test)]

use std::{fmt::Write as _, fs, path::Path};

use jiff::Timestamp;
use kt_policy::{
    Checked, check,
    diag::{Diagnostic, LineIndex, Severity},
    lint::LintOptions,
    models::ModelTable,
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn checked(source: &[u8]) -> Checked {
    let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
    check(source, &LintOptions { now, models: ModelTable::built_in() })
}

fn file(path: &str) -> Vec<u8> {
    fs::read(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn listed(source: &[u8], findings: &[Diagnostic]) -> String {
    let index = LineIndex::new(source);
    let mut out = String::new();
    for finding in findings {
        let place = finding.span.map_or_else(
            || "-".to_owned(),
            |span| {
                let at = index.position(span.start);
                format!("{}:{}", at.line, at.column)
            },
        );
        let severity = if finding.is_error() { "error" } else { "warning" };
        writeln!(out, "{place} {severity} {} {}: {}", finding.code, finding.path, finding.message).unwrap();
        if let Some(help) = &finding.help {
            writeln!(out, "    help: {help}").unwrap();
        }
    }
    out
}

#[test]
fn a_pattern_that_is_wrong_is_found_also_where_the_policy_does_not_run_yet() {
    let source = String::from_utf8(file("examples/seed/databricks-enterprise.yaml")).unwrap();
    let outside = source.replacen("    - dlp-filter\n", "", 1);
    assert!(checked(outside.as_bytes()).pack.is_some());
    let broken = outside.replacen("regex: dapi[a-f0-9]{32}", "regex: dapi([a-f0-9]{32}", 1);
    let checked = checked(broken.as_bytes());
    assert!(checked.pack.is_none());
    let errors: Vec<_> = checked.findings.iter().filter(|finding| finding.is_error()).collect();
    let [error] = errors[..] else { panic!("{}", listed(broken.as_bytes(), &checked.findings)) };
    assert_eq!(error.path, "policy.dlp-filter.patterns[0].regex");
    assert!(error.span.is_some());
}

#[test]
fn the_packs_of_the_seed_are_accepted_word_for_word() {
    let mut all = String::new();
    let mut names: Vec<_> = fs::read_dir(Path::new(ROOT).join("examples/seed"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    names.sort();
    assert_eq!(names.len(), 6);
    for path in names {
        let source = fs::read(&path).unwrap();
        let checked = checked(&source);
        assert!(checked.pack.is_some(), "{}:\n{}", path.display(), listed(&source, &checked.findings));
        let name = path.file_name().unwrap().to_str().unwrap();
        writeln!(all, "{name}\n{}", listed(&source, &checked.findings)).unwrap();
    }
    insta::assert_snapshot!("seed", all);
}

#[test]
fn the_demo_pack_is_accepted() {
    let source = file("examples/demo.yaml");
    let checked = checked(&source);
    assert!(checked.pack.is_some(), "{}", listed(&source, &checked.findings));
}

#[test]
fn a_pack_with_fifty_mistakes_shows_all_of_them() {
    let source = file("policy/tests/fixtures/bad/fifty.yaml");
    let checked = checked(&source);
    assert!(checked.pack.is_none());
    let errors = checked.findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    insta::assert_snapshot!("fifty", listed(&source, &checked.findings));
    assert!(errors >= 50, "{errors}");
}

#[test]
fn keys_that_stand_twice_are_all_reported() {
    let source = b"pack: {name: a, name: b, version: 1.0.0, name: c}\npolicies: {chain: []}\npolicies: {}\n";
    let checked = checked(source);
    let twice: Vec<_> =
        checked.findings.iter().filter(|finding| finding.code.to_string() == "KT0008").collect();
    assert_eq!(twice.len(), 3, "{}", listed(source, &checked.findings));
}

/// One refusal, and quickly: far below the time that building the whole would take.
fn is_refused(source: &[u8], code: &str) {
    #[expect(clippy::disallowed_types, reason = "measures work, there is no runtime here")]
    let start = std::time::Instant::now();
    let checked = checked(source);
    let took = start.elapsed();
    let codes: Vec<_> = checked.findings.iter().map(|finding| finding.code.to_string()).collect();
    assert_eq!(codes, [code], "{}", listed(source, &checked.findings));
    assert!(took.as_millis() < 3_000, "{took:?}");
}

#[test]
fn bombs_are_refused_quickly() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let alias = format!("*a{}", level - 1);
        writeln!(laughs, "a{level}: &a{level} [{}]", vec![alias; 9].join(", ")).unwrap();
    }
    is_refused(laughs.as_bytes(), "KT0007");
    is_refused(format!("a: &a x\nb: [{}]", "*a, ".repeat(200)).as_bytes(), "KT0007");
    is_refused(b"a: &a [*a]\n", "KT0007");
    is_refused(b"a: *b\n", "KT0007");
    is_refused("[".repeat(100_000).as_bytes(), "KT0004");
    is_refused(format!("a: {}1{}", "[".repeat(70), "]".repeat(70)).as_bytes(), "KT0004");
    let deep: String = (0..70).fold(String::new(), |mut out, level| {
        writeln!(out, "{}k:", " ".repeat(level)).unwrap();
        out
    });
    is_refused(deep.as_bytes(), "KT0004");
    is_refused(format!("a: [{}]", "1, ".repeat(600_000)).as_bytes(), "KT0004");
    is_refused(&vec![b'a'; 4 * 1024 * 1024 + 1], "KT0002");
}

#[test]
fn what_is_no_document_is_refused_with_the_reason() {
    is_refused(b"", "KT0005");
    is_refused(b"# nothing\n", "KT0005");
    is_refused(b"pack: {name: \xff}\n", "KT0001");
    is_refused(b"\xff\xfep\0a\0", "KT0001");
    is_refused(b"pack: {}\n---\npack: {}\n", "KT0006");
    is_refused(b"pack:\n\tname: x\n", "KT0003");
    is_refused(b"pack: [\n", "KT0003");
    is_refused(b"pack: \"open\n", "KT0003");
    is_refused(b"pack: !!python/object x\n", "KT0003");
    is_refused(b"just a text\n", "KT0102");
    is_refused(b"- a\n- list\n", "KT0102");
}

#[test]
fn merge_keys_are_refused_where_they_stand() {
    let source = b"pack: &p {name: a, version: 1.0.0}\npolicies:\n  <<: *p\n  chain: []\n";
    let codes: Vec<_> = checked(source).findings.iter().map(|finding| finding.code.to_string()).collect();
    assert!(codes.contains(&"KT0009".to_owned()), "{codes:?}");
}

#[test]
fn json_and_a_byte_order_mark_are_read() {
    let source = "\u{feff}{\n\t\"pack\": {\"name\": \"p\", \"version\": \"1.0.0\", \"ówner\": 1},\n\t\"policies\": {\"chain\": []}}";
    let checked = checked(source.as_bytes());
    let unknown = checked.findings.iter().find(|finding| finding.code.to_string() == "KT0101").unwrap();
    let span = unknown.span.unwrap();
    assert_eq!(source.get(span.start..span.end).unwrap(), "\"ówner\"");
    assert_eq!(LineIndex::new(source.as_bytes()).position(span.start).line, 2);
}

#[test]
fn the_same_bytes_give_the_same_findings_whatever_the_clock_says_but_for_expiry() {
    let source = file("policy/tests/fixtures/bad/fifty.yaml");
    let at = |now: &str| {
        let options = LintOptions { now: now.parse().unwrap(), models: ModelTable::built_in() };
        check(&source, &options).findings
    };
    assert_eq!(at("2026-01-01T00:00:00Z"), at("2050-01-01T00:00:00Z"));
}

#[test]
fn a_credential_in_a_pack_is_never_repeated() {
    let token = format!("dapi{}", "0123456789abcdef".repeat(2));
    for place in [
        format!("secret_key_ref: {token}"),
        format!("secret_key_ref: {{env: {token}}}"),
        format!("secret_key_ref: {{file: {token}}}"),
        format!("secret_key_ref: {{store: {token}}}"),
        format!("secret_key_ref: {{env: \"{token}-2\"}}"),
        format!("secret_key_ref: [{token}]"),
        format!("api_key: {token}"),
        format!("base_url: https://x:{token}@host/"),
        format!("base_url: https://host/?token={token}"),
    ] {
        let url = if place.starts_with("base_url") {
            ""
        } else {
            "base_url: https://h.azuredatabricks.net\n      "
        };
        let source = format!(
            "pack: {{name: p, version: 1.0.0}}\npolicies: {{chain: []}}\nproviders:\n  targets:\n    - id: t\n      \
             provider: databricks:chat:m\n      {url}{place}\n"
        );
        let checked = checked(source.as_bytes());
        assert!(checked.pack.is_none(), "{place}");
        let said = listed(source.as_bytes(), &checked.findings);
        assert!(!said.contains(&token), "{said}");
    }
}

#[test]
fn broken_syntax_is_pointed_at() {
    let mut all = String::new();
    for source in [
        "pack:\n\tname: x\n",
        "pack: [\n",
        "pack: \"open\n",
        "pack: {a: b\npolicies: c\n",
        "pack:\n  name: a\n   version: b\n",
        "pack: a: b\n",
        "{a: b}: c\n",
        "pack: !!python/object x\n",
        "pack: 'it''s' x\n",
        "pack: @x\n",
        "pack: %x\n",
        "- a\nb: c\n",
        "pack: *nothing\n",
        "a: &a [*a]\n",
        "pack: \"\\q\"\n",
        "a: 1\n---\nb: 2\n",
    ] {
        let found = checked(source.as_bytes()).findings;
        assert!(
            found.iter().all(|finding| finding.span.is_some() || !finding.is_error()),
            "{source:?}: {found:?}"
        );
        writeln!(all, "{source:?}\n{}", listed(source.as_bytes(), &found)).unwrap();
    }
    insta::assert_snapshot!("syntax", all);
}

mod any_text {
    use kt_policy::diag::LineIndex;
    use proptest::prelude::*;

    /// Pieces that packs are made of, so that most texts get past the scanner.
    fn piece() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => prop::sample::select(vec![
                "pack", "policies", "chain", "policy", "rbac", "roles", "name", "version", "providers", "targets",
                "dlp-filter", "patterns", "regex", "1.0.0", "true", "null", "~", "- ", ": ", "\n", "\n  ", "\n    ",
                "[", "]", "{", "}", ", ", "'", "\"", "&a ", "*a", "|\n", ">-\n", "# x\n", "\t", "---\n", "<<", "é", "\u{202e}",
            ])
            .prop_map(str::to_owned),
            1 => "\\PC{0,6}",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

        #[test]
        fn reading_never_panics_and_places_lie_in_the_source(
            pieces in prop::collection::vec(piece(), 0..60),
        ) {
            let source = pieces.concat();
            let (parsed, found) = kt_policy::pack::parse(source.as_bytes());
            prop_assert_eq!(parsed.is_some(), !found.iter().any(kt_policy::diag::Diagnostic::is_error));
            let index = LineIndex::new(source.as_bytes());
            for finding in found {
                if let Some(span) = finding.span {
                    prop_assert!(source.get(span.start..span.end).is_some(), "{:?}", finding);
                    let position = index.position(span.start);
                    let line = std::str::from_utf8(index.line(position.line).unwrap()).unwrap();
                    prop_assert!(position.column <= line.chars().count() + 2, "{:?}", finding);
                }
                prop_assert!(!finding.message.contains(char::is_control), "{:?}", finding);
            }
        }
    }
}
