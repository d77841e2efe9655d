//! A stream against its text as a whole.
//!
//! They may differ only where a finding, and what speaks for it, does not fit into what a window sees: 1 KiB before the
//! border between what leaves and what is held, and `hold_back` bytes behind it. Texts shorter than that are the same.

use super::*;

/// What is found by itself, without words around it.
const SELF_EVIDENT: &[&str] = &[
    "jane.roe@example.com",
    "4111 1111 1111 1111",
    "GB82 WEST 1234 5698 7654 32",
    "dapi0a1b2c3d4e5f60718293a4b5c6d7e8f9",
    "192.0.2.7",
    "d a p i 0 a 1 b 2 c 3 d 4 e 5 f 6 0 7 1 8 2 9 3 a 4 b 5 c 6 d 7 e 8 f 9",
    "dapi\u{200b}0a1b2c3d4e5f6071\u{200b}8293a4b5c6d7e8f9",
    "４１１１ １１１１ １１１１ １１１１",
];

fn both() -> CompiledPack {
    pack(
        "pii-detector, dlp-filter",
        "policy:\n  pii-detector: {entities: all}\n  dlp-filter: {builtin: all}\n",
    )
}

fn masked_whole(pack: &CompiledPack, text: &str) -> String {
    let body = chat(text);
    let masked: Value = serde_json::from_str(&judge(pack, &body).body.unwrap()).unwrap();
    masked["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_found_by_itself_is_masked_at_every_distance_from_a_border() {
    let pack = both();
    for secret in SELF_EVIDENT {
        let alone = masked_whole(&pack, &format!("so it is {secret} and no more"));
        for before in (200..420).step_by(3) {
            let filler: String = "so they say ".chars().cycle().take(before).collect();
            let text = format!("{filler} {secret} {}", "and that is all there is to it ".repeat(20));
            let left = text_of(&pass(&pack, Endpoint::ChatCompletions, &cut(&text, &[7])).events);
            assert!(!left.contains(secret), "{before}: {secret} ({alone})");
            assert_eq!(left, masked_whole(&pack, &text), "{before}: {secret}");
        }
    }
}

fn filler() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "the", "order", "is", "late", "nobody", "knows", "why", "über", "数据", "🙂", "(\"x\")", "\n",
    ]);
    prop::collection::vec(word, 20..160).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_the_whole_masks_the_stream_masks(
        parts in prop::collection::vec((filler(), prop::sample::select(SELF_EVIDENT)), 1..6),
        last in filler(),
        lengths in prop::collection::vec(1_usize..60, 1..6),
    ) {
        let pack = both();
        let text: String = parts.iter().map(|(filler, secret)| format!("{filler} {secret} ")).chain([last]).collect();
        let left = text_of(&pass(&pack, Endpoint::ChatCompletions, &cut(&text, &lengths)).events);
        prop_assert_eq!(left, masked_whole(&pack, &text));
    }

    /// Short texts are judged as they are whole, whatever is in them.
    #[test]
    fn a_text_within_the_hold_back_is_judged_as_the_whole(
        text in super::prose().prop_map(|text| text.chars().take(180).collect::<String>()),
        lengths in prop::collection::vec(1_usize..40, 1..6),
    ) {
        prop_assume!(text.len() < 256 + 64);
        let pack = both();
        let passed = pass(&pack, Endpoint::ChatCompletions, &cut(&text, &lengths));
        prop_assert_eq!(text_of(&passed.events), masked_whole(&pack, &text));
        let body = chat(&text);
        prop_assert_eq!(passed.report.findings, judge(&pack, &body).report.findings);
    }
}
