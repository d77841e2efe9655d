use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::fake_databricks::persona::Family;

fn answer(prompt: &Prompt<'_>, family: Family) -> Answer {
    Answer::to(prompt, &Persona::of(family))
}

fn saying(text: &str) -> Prompt<'static> {
    Prompt { endpoint: "e", last_user: text.to_owned(), ..Prompt::default() }
}

#[test]
fn a_stop_text_ends_the_answer_before_it() {
    let prompt = Prompt { stop: vec!["4", "7"], ..saying("count: 9") };
    assert_eq!(answer(&prompt, Family::Llama).text.as_deref(), Some("1 2 3 "));
}

#[test]
fn the_ordinary_sentence_names_endpoint_and_length() {
    let text = answer(&saying("żółć"), Family::Llama).text.unwrap();
    assert_eq!(text, "This is e of the fake workspace, answering a message of 4 characters.");
}

#[test]
fn a_schema_that_refers_to_no_end_still_gets_a_value() {
    let mut schema = json!({"type": "string"});
    for _ in 0..100 {
        schema = json!({"type": "array", "items": schema});
    }
    let prompt = Prompt { format: Format::Schema(&schema), ..saying("say: x") };
    assert!(answer(&prompt, Family::Llama).text.unwrap().starts_with("[[[["));
}

proptest! {
    #[test]
    fn pieces_join_to_the_text_and_are_counted_like_characters(text in any::<String>()) {
        let split = pieces(&text);
        prop_assert_eq!(split.concat(), text.clone());
        prop_assert_eq!(split.len() as u64, tokens_in(text.chars().count()));
    }

    #[test]
    fn a_bound_is_never_exceeded_and_reported_when_it_cuts(
        text in "\\PC{0,80}", bound in 1u64..40, reasons in any::<bool>(),
    ) {
        let family = if reasons { Family::GptOss } else { Family::Llama };
        let free = answer(&saying(&format!("say: {text}")), family);
        let bounded = answer(&Prompt { max_tokens: Some(bound), ..saying(&format!("say: {text}")) }, family);
        prop_assert!(bounded.tokens() <= bound);
        prop_assert_eq!(bounded.finish == "length", free.tokens() > bound);
    }
}
