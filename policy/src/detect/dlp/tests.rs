#![expect(
    clippy::string_slice,
    reason = "offsets of hits and of samples are on character borders, or the test fails"
)]

mod builtins;
mod samples;
mod terms;

use insta::assert_debug_snapshot;
use proptest::prelude::*;

use super::*;
use crate::{detect::Origin, pack::kinds::DlpPattern, verdict::Action};

fn scanner(settings: &DlpFilter) -> DlpScanner {
    let (scanner, problems) = DlpScanner::compile(settings);
    scanner.unwrap_or_else(|| panic!("{problems:?}"))
}

fn all() -> DlpScanner {
    scanner(&DlpFilter { builtin: BuiltinSelection::All, ..DlpFilter::default() })
}

fn scan(scanner: &DlpScanner, text: &str, key: Option<&str>) -> Vec<Hit> {
    let mut hits = Vec::new();
    let score = scanner.scan(Text { text, origin: Origin::User, key }, &mut Scratch::default(), &mut hits);
    assert_eq!(score, None);
    hits
}

/// `(rule, matched text)`
fn found<'a>(scanner: &DlpScanner, text: &'a str) -> Vec<(String, &'a str)> {
    scan(scanner, text, None)
        .into_iter()
        .map(|hit| (scanner.rules()[hit.rule as usize].id.to_string(), &text[hit.start..hit.end]))
        .collect()
}

fn redacted(scanner: &DlpScanner, text: &str) -> String {
    let (mut out, mut done) = (String::new(), 0);
    for hit in scan(scanner, text, None) {
        if hit.start >= done {
            out.push_str(&text[done..hit.start]);
            scanner.replace(hit.rule, &text[hit.start..hit.end], &mut out);
            done = hit.end;
        }
    }
    out + &text[done..]
}

fn pattern(name: &str, regex: &str, action: Option<Action>, mode: Mode) -> DlpPattern {
    DlpPattern { name: name.to_owned(), regex: regex.to_owned(), action, mode }
}

#[test]
fn the_patterns_of_the_seed_work_word_for_word() {
    let enterprise = scanner(&DlpFilter {
        patterns: vec![
            pattern("databricks-pat", "dapi[a-f0-9]{32}", Some(Action::Block), Mode::Enforce),
            pattern(
                "jdbc-connection-string",
                r"jdbc:databricks://[^\s]+",
                Some(Action::Redact),
                Mode::Enforce,
            ),
            pattern("unity-catalog-path", r"catalog\.schema\.table", Some(Action::Redact), Mode::Enforce),
        ],
        ..DlpFilter::default()
    });
    let token = format!("{}{}", "dapi", "0f".repeat(16));
    let text = format!("a{token}b jdbc:databricks://host:443;x=1 and catalog.schema.table");
    assert_eq!(
        found(&enterprise, &text),
        [
            ("databricks-pat".to_owned(), token.as_str()),
            ("jdbc-connection-string".to_owned(), "jdbc:databricks://host:443;x=1"),
            ("unity-catalog-path".to_owned(), "catalog.schema.table"),
        ]
    );
    assert_eq!(
        redacted(&enterprise, &text),
        "a<databricks-pat>b <jdbc-connection-string> and <unity-catalog-path>"
    );
    let verdicts: Vec<Verdict> = enterprise.rules().iter().map(|rule| rule.verdict).collect();
    assert_eq!(verdicts, [Verdict::Block, Verdict::Redact, Verdict::Redact]);

    let unnamed = scanner(&DlpFilter {
        detect_patterns: [
            r"[a-z_]+\.[a-z_]+\.[a-z_]+",
            r"dbutils\.secrets\.get\([^)]+\)",
            "0[0-9]{3}-[0-9]{6}-[a-z0-9]{8}",
        ]
        .map(str::to_owned)
        .to_vec(),
        action: Action::Block,
        ..DlpFilter::default()
    });
    let text = "main.sales.orders dbutils.secrets.get('a', 'b') 0123-456789-abc12345";
    assert_eq!(
        found(&unnamed, text),
        [
            ("detect_patterns[0]".to_owned(), "main.sales.orders"),
            ("detect_patterns[0]".to_owned(), "dbutils.secrets.get"),
            ("detect_patterns[1]".to_owned(), "dbutils.secrets.get('a', 'b')"),
            ("detect_patterns[2]".to_owned(), "0123-456789-abc12345"),
        ]
    );
    assert!(unnamed.rules().iter().all(|rule| rule.verdict == Verdict::Block));
    assert_eq!(redacted(&unnamed, "see main.sales.orders"), "see <DETECT_PATTERN>");
}

#[test]
fn patterns_have_their_own_action_and_mode() {
    let mixed = scanner(&DlpFilter {
        action: Action::Block,
        patterns: vec![
            pattern("one", "first", None, Mode::Observe),
            pattern("two", "second", Some(Action::Redact), Mode::Enforce),
        ],
        blocked_terms: vec!["third".to_owned()],
        builtin: BuiltinSelection::Some(vec!["JWT".to_owned()]),
        ..DlpFilter::default()
    });
    assert_debug_snapshot!(mixed.rules());
}

#[test]
fn wrong_settings_are_all_named_with_their_place() {
    let (scanner, problems) = DlpScanner::compile(&DlpFilter {
        patterns: vec![
            pattern("ok", "abc[0-9]+", None, Mode::Enforce),
            pattern("ok", "(?=x)", None, Mode::Enforce),
            pattern(" ", "x*", None, Mode::Enforce),
        ],
        detect_patterns: vec!["[".to_owned(), "[0-9]{3}".to_owned()],
        blocked_terms: ["  ", "Titan", "TITAN", "ab", &"x".repeat(257)].map(str::to_owned).to_vec(),
        fuzzy_matching: true,
        max_distance: 2,
        builtin: BuiltinSelection::Some(
            ["JWT", "JWT", "DATABRICKS_TOKENS", "github-token", "nothing like it"]
                .map(str::to_owned)
                .to_vec(),
        ),
        ..DlpFilter::default()
    });
    assert!(scanner.is_none());
    assert_debug_snapshot!(problems);
    let (_, problems) = DlpScanner::compile(&DlpFilter { max_distance: 9, ..DlpFilter::default() });
    assert_eq!(problems[0].path, "max_distance");
}

#[test]
fn an_empty_block_finds_nothing() {
    let empty = scanner(&DlpFilter::default());
    assert_eq!(scan(&empty, "password = \"S3cr3t!S3cr3t!\"", None), []);
    assert!(empty.rules().is_empty());
    let mut out = String::new();
    empty.replace(7, "x", &mut out);
    assert!(!out.is_empty(), "a marker is never empty");
}

#[test]
fn a_thousand_patterns_are_found_like_one() {
    let patterns: Vec<DlpPattern> = (0..1000)
        .map(|n| pattern(&format!("p{n}"), &format!("case-{n:04}-[a-z]+"), None, Mode::Enforce))
        .collect();
    let many = scanner(&DlpFilter { patterns, ..DlpFilter::default() });
    assert_eq!(
        found(&many, "see case-0007-abc, case-0999-x and case-1000-y"),
        [("p7".to_owned(), "case-0007-abc"), ("p999".to_owned(), "case-0999-x"),]
    );
}

fn fragments() -> impl Strategy<Value = String> {
    let known = proptest::sample::select(vec![
        "dapi",
        "0123456789abcdef",
        "sk-",
        "sk-ant-api03-",
        "eyJhbGciOiJub25lIn0",
        ".",
        "-----BEGIN PRIVATE KEY-----",
        "-----END PRIVATE KEY-----",
        "{\"type\": \"service_account\"",
        "\"private_key\":",
        "}",
        "password",
        " = ",
        "'",
        "\"",
        "\\n",
        "\\u0064",
        "%64",
        "&#100;",
        "=\n",
        "\\\n",
        "\n  ",
        "jdbc:x://",
        "https://a:b@c",
        "@",
        "://",
        ":AA",
        "Q~",
        "sig=",
        "?sv=20",
        "AccountKey=",
        ";",
        "Authorization: Basic ",
        "YTpi",
        "AKIA",
        "xoxb-1",
        "-",
        "fastly_token=",
        "\u{200b}",
        "а",
        "ｄ",
        "é",
        "漢",
        "\u{301}",
        "d a p i ",
        "ZGFwaQ",
        "64617069",
        "SK",
        "secret_access_key",
        "titan",
        "\u{e0064}",
        " + ",
        "\r\n",
        "service_account",
    ]);
    let part = prop_oneof![4 => known.prop_map(str::to_owned), 1 => "[a-zA-Z0-9+/=_-]{1,40}", 1 => ".{0,6}"];
    proptest::collection::vec(part, 0..30).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn hits_are_sorted_not_empty_and_on_character_borders(text in fragments(), key in proptest::option::of(".{0,12}")) {
        thread_local!(static SCANNER: DlpScanner = scanner(&DlpFilter {
            builtin: BuiltinSelection::All,
            blocked_terms: vec!["titan".to_owned(), "é漢".to_owned(), "project titan".to_owned()],
            fuzzy_matching: true,
            max_distance: 0,
            detect_patterns: vec!["dapi[a-f0-9]+".to_owned(), r"\bpassword\b".to_owned()],
            ..DlpFilter::default()
        }));
        SCANNER.with(|scanner| {
            let hits = scan(scanner, &text, key.as_deref());
            for hit in &hits {
                prop_assert!(hit.start < hit.end && text.get(hit.start..hit.end).is_some(), "{hit:?}");
                prop_assert!((hit.rule as usize) < scanner.rules().len());
            }
            prop_assert!(hits.is_sorted_by_key(|hit| hit.start));
            prop_assert_eq!(scan(scanner, &text, key.as_deref()), hits, "the same again");
            Ok(())
        })?;
    }
}
