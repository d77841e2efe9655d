use proptest::prelude::*;

use super::{search::steps_of, *};

fn sources<'a>(regexes: &[&'a str]) -> Vec<PatternSource<'a>> {
    regexes.iter().map(|regex| PatternSource { id: regex, regex, case_insensitive: false }).collect()
}

fn set(regexes: &[&str]) -> PatternSet {
    let (set, problems) = PatternSet::compile(&sources(regexes));
    let errors: Vec<_> = problems.iter().filter(|(_, p)| p.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:?}");
    set.unwrap()
}

fn find(set: &PatternSet, text: &str) -> Vec<(usize, usize, usize)> {
    let mut found = Vec::new();
    set.find_all(text, &mut PatternScratch::default(), &mut |i, s, e| found.push((i, s, e)));
    found.sort_unstable();
    found
}

fn expected(regexes: &[&str], text: &str) -> Vec<(usize, usize, usize)> {
    let mut found = Vec::new();
    for (index, regex) in regexes.iter().enumerate() {
        let regex = regex::Regex::new(regex).unwrap();
        found.extend(regex.find_iter(text).map(|m| (index, m.start(), m.end())));
    }
    found.sort_unstable();
    found
}

fn problems(regex: &str) -> Vec<String> {
    let source = PatternSource { id: "mine", regex, case_insensitive: false };
    let (_, problems) = PatternSet::compile(&[source]);
    problems
        .into_iter()
        .map(|(_, p)| {
            format!("{:?} {:?}: {} / {}", p.severity, p.kind, p.message, p.help.unwrap_or_default())
        })
        .collect()
}

/// Expressions of every shape: prefix literal, inner literal near and far, none, Unicode borders, anchors, case.
const SHAPES: &[&str] = &[
    "dapi[a-f0-9]{4}",
    r"jdbc:databricks://[^\s]+",
    r"catalog\.schema\.table",
    r"[a-z_]+\.[a-z_]+\.[a-z_]+",
    r"dbutils\.secrets\.get\([^)]+\)",
    r"0[0-9]{3}-[0-9]{2}",
    r"\bcat\b",
    r"\bcat\w+\b",
    r"\b\w+ing\b",
    r"(?i)secret",
    r"(?i)kelvin|masse",
    r"[a-z]+@corp",
    r"(?m)^key: .*$",
    r"^start|end$",
    r"foo.*bar",
    r"foo.*?bar",
    r"(?s)BEGIN.*?END",
    r"(ab|ba)+c",
    r"x?yz{2,3}",
    r"é+t",
    r"[A-Z]{2}\d{3}",
    r"(?:a|ab)(?:c|bcd)",
    r"\Bat\B",
    r"(?-u:\b)dog(?-u:\b)",
    r"sam|samwise",
    r"[^\s]{3}zz",
    r"\d+",
];

#[test]
fn results_are_those_of_find_iter() {
    let texts = [
        "",
        "dapi01af dapi01a DAPI01AF dapidapi0000",
        "see jdbc:databricks://host:443;x=1, and catalog.schema.table, catalogxschema.table",
        "dbutils.secrets.get(scope, key) dbutils.secrets.get() 0123-45 00123-456",
        "cat cats concatenate écat caté cat.",
        "SECRET Secret \u{17f}ecret \u{212a}elvin KELVIN MASSE ma\u{17f}\u{17f}e",
        "a@corp ab@corporate @corp é@corp",
        "key: one\nkey: two\n key: three\nkey: ",
        "start end start\nend",
        "foo foo bar bar foo\nbar foo bar",
        "BEGIN x END y END BEGIN BEGIN\nEND END",
        "ababc bac abac yz yzz xyzzz xyzzzz ééét AB123",
        "abcd abc ac abbcd running singing ring ing dog hotdog dog-dog samwise sam",
    ];
    let set = set(SHAPES);
    for text in texts {
        assert_eq!(find(&set, text), expected(SHAPES, text), "{text:?}");
    }
}

#[test]
fn many_matches_and_long_texts_are_all_found() {
    let text = "dapi0123 foo x bar cat 12 é ".repeat(3_000);
    let shapes = ["dapi[a-f0-9]{4}", r"\bcat\b", r"\d+", "foo.{1,5}bar", "[a-z]+ x"];
    assert_eq!(find(&set(&shapes), &text), expected(&shapes, &text));
    let dense = "aab".repeat(40_000);
    let shapes = ["aab", "aa", "a+b"];
    assert_eq!(find(&set(&shapes), &dense), expected(&shapes, &dense));
}

#[test]
fn a_long_match_is_not_cut() {
    let text = format!("see jdbc:databricks://{} end", "x".repeat(300_000));
    let found = find(&set(&[r"jdbc:databricks://[^\s]+"]), &text);
    assert_eq!(found, [(0, 4, text.len() - 4)]);
}

#[test]
fn steps_are_linear_for_expressions_that_are_quadratic_elsewhere() {
    let cases: &[(&str, &str)] = &[
        (".*[^A-Z]|[A-Z]", "A"),
        ("(?s)a.*z|a", "a"),
        ("foo.*bar", "foo "),
        ("(?s)foo.*bar", "foo "),
        (r"\b\w+x\b", "a"),
        (r"\w+\s+x\b", "word "),
        ("(a+)+b", "a"),
        ("[a-z]+@corp", "a"),
        ("(x+x+)+y", "x"),
        (r"\bfoo(?s:.*)bar\b", "foo "),
    ];
    for (regex, unit) in cases {
        let text = |n: usize| unit.repeat(n / unit.len());
        let (small, _) = steps_of(regex, &text(40_000));
        let (large, _) = steps_of(regex, &text(400_000));
        assert!(large < 12 * small.max(40_000), "{regex}: {small} → {large}");
        // The promise of the module: paid steps, forwards, backwards, looks.
        assert!(large <= (search::STEPS_A_BYTE + 2 + 33) * 400_000 + 200_000, "{regex}: {large}");
    }
}

#[test]
fn candidates_that_never_match_do_not_make_the_search_quadratic() {
    // By the public way in, with the prefilter: each `foo` is a candidate that reads on to the end.
    let set = set(&["(?s)foo.*bar", r"\bfoo(?s:.*)bar\b"]);
    let text = "foo ".repeat(100_000);
    assert_eq!(find(&set, &text), []);
    let hit = format!("{text}bar");
    assert_eq!(find(&set, &hit), [(0, 0, hit.len()), (1, 0, hit.len())]);
}

#[test]
fn bad_expressions_are_refused_with_help() {
    insta::assert_debug_snapshot!([
        problems("("),
        problems("(?=x)y"),
        problems(r"(a)\1"),
        problems("a*"),
        problems("[a&&b]x"),
        problems(".+"),
        problems(r"\w{100}{100}"),
        problems(&"x".repeat(1025)),
        problems(&format!("{}a{}", "(".repeat(80), ")".repeat(80))),
        problems(r"[a-z_]+\.[a-z_]+"),
        problems("dapi[a-f0-9]{32}"),
    ]);
}

#[test]
fn too_many_expressions_are_refused() {
    let regexes: Vec<String> = (0..=MAX_PATTERNS).map(|n| format!("name-{n}-x")).collect();
    let sources: Vec<_> =
        regexes.iter().map(|r| PatternSource { id: "p", regex: r, case_insensitive: false }).collect();
    let (set, problems) = PatternSet::compile(&sources);
    assert!(set.is_none());
    assert_eq!(problems.len(), 1);
    assert_eq!((problems[0].0, problems[0].1.kind), (MAX_PATTERNS, ProblemKind::PatternTooLarge));
}

#[test]
fn the_total_size_is_bounded() {
    let regexes: Vec<String> = (0..400).map(|n| format!(r"name{n}\w{{30}}")).collect();
    let sources: Vec<_> =
        regexes.iter().map(|r| PatternSource { id: "p", regex: r, case_insensitive: false }).collect();
    let (set, problems) = PatternSet::compile(&sources);
    assert!(set.is_none());
    assert!(problems.iter().any(|(_, p)| p.kind == ProblemKind::PatternTooLarge));
}

#[test]
fn an_empty_set_finds_nothing() {
    let (set, problems) = PatternSet::compile(&[]);
    assert!(problems.is_empty());
    let set = set.unwrap();
    assert!(set.is_empty());
    assert_eq!(find(&set, "anything"), []);
}

#[test]
fn one_scratch_serves_several_sets() {
    let (one, two) = (set(&["foo", "bar"]), set(&["x1", "x2", "x3", r"\d+"]));
    let mut scratch = PatternScratch::default();
    for _ in 0..3 {
        let mut found = Vec::new();
        one.find_all("foo bar x3 12", &mut scratch, &mut |i, s, e| found.push((i, s, e)));
        two.find_all("foo bar x3 12", &mut scratch, &mut |i, s, e| found.push((i, s, e)));
        found.sort_unstable();
        assert_eq!(found, [(0, 0, 3), (1, 4, 7), (2, 8, 10), (3, 9, 10), (3, 11, 13)]);
    }
}

#[test]
fn more_expressions_than_are_kept_warm_work() {
    let regexes: Vec<String> = (0..500).map(|n| format!("word{n:03}")).collect();
    let refs: Vec<&str> = regexes.iter().map(String::as_str).collect();
    let set = set(&refs);
    let text = regexes.join(" ");
    for _ in 0..2 {
        assert_eq!(find(&set, &text).len(), 500);
    }
}

proptest! {
    #[test]
    fn random_texts_give_the_results_of_find_iter(text in "[abcdefz019é@. \n:-]{0,60}") {
        thread_local!(static SET: PatternSet = set(SHAPES));
        SET.with(|set| assert_eq!(find(set, &text), expected(SHAPES, &text)));
    }

    #[test]
    fn random_expressions_give_the_results_of_find_iter(
        regex in r"(\\b)?(a|b|ab|é|\[ab\]|\(a\|bc\)|\.|\\w|\\d|\\s)([+*?]|\{2\})?(a|b|cd|é|\[bc\]|\.|\\w)([+*?]|\{1,2\})?(\\b|\$)?",
        text in "[abcdé \n1]{0,30}",
    ) {
        let (set, _) = PatternSet::compile(&sources(&[&regex]));
        if let Some(set) = set {
            prop_assert_eq!(find(&set, &text), expected(&[&regex], &text));
        }
    }

    #[test]
    fn any_string_is_judged_without_panic(regex in ".{0,40}", text in ".{0,40}") {
        if let (Some(set), _) = PatternSet::compile(&sources(&[&regex])) {
            for (_, start, end) in find(&set, &text) {
                prop_assert!(start < end && text.get(start..end).is_some());
            }
        }
    }
}
