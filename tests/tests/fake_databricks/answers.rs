//! What the models say, in every form, and the listing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::client::{chat, chat_body, fake, post, send};

const LLAMA: &str = "databricks-meta-llama-3-3-70b-instruct";

#[tokio::test]
async fn an_answer_names_a_dated_model_and_the_served_entity() {
    let fake = fake().await;
    let wire = chat(&fake, LLAMA, "say: Hello", json!({})).await;
    insta::assert_snapshot!("answer", format!("{}\n\n{}", wire.head(), wire.body()));
}

#[tokio::test]
async fn native_scoring_needs_no_model_and_goes_by_the_path() {
    let fake = fake().await;
    let native = |name: &str| format!("/serving-endpoints/{name}/invocations");
    let wire =
        post(&fake, &native(LLAMA), &json!({"messages": [{"role": "user", "content": "say: Hi"}]})).await;
    assert_eq!(wire.json()["choices"][0]["message"]["content"], "Hi");
    let wire = post(&fake, &native(LLAMA), &chat_body("ignored", "say: Hi", json!({}))).await;
    assert_eq!(wire.status(), 200);
    let wire = post(&fake, &native("databricks-bge-large-en"), &json!({"input": ["a", "b"]})).await;
    assert_eq!(wire.json()["data"].as_array().unwrap().len(), 2);
    let wire = post(&fake, &native("fake-responses-agent"), &json!({"input": "say: Hi"})).await;
    assert_eq!(wire.json()["output"][0]["content"][0]["text"], "Hi");
    let wire = post(&fake, &native("fake-responses-agent"), &json!({"messages": []})).await;
    assert_eq!(wire.json()["message"], "'messages' field is not supported. Please use 'input'");
    let wire = post(
        &fake,
        &native("fake-custom-model"),
        &json!({"dataframe_split": {"columns": ["a"], "data": [[1], [22]]}}),
    )
    .await;
    assert_eq!(wire.json(), json!({"predictions": [3, 4]}));
    let wire = post(&fake, &native("fake-custom-model"), &json!({"messages": []})).await;
    assert_eq!(wire.status(), 400);
    let wire = post(&fake, &native(LLAMA), &json!({"inputs": ["a"]})).await;
    assert_eq!(wire.json()["message"], "Bad request: json: unknown field \"inputs\"");
}

#[tokio::test]
async fn both_surfaces_serve_the_same_models() {
    let fake = fake().await;
    let body = chat_body("system.ai.meta-llama-3-3-70b-instruct", "say: Hi", json!({}));
    let wire = post(&fake, "/ai-gateway/mlflow/v1/chat/completions", &body).await;
    assert_eq!(wire.header("served-model-name").as_deref(), Some("meta-llama-3.3-70b-instruct-121024"));
    let body = json!({"model": "databricks-bge-large-en", "input": "a"});
    assert_eq!(post(&fake, "/ai-gateway/mlflow/v1/embeddings", &body).await.status(), 200);
}

#[tokio::test]
async fn max_tokens_cuts_and_says_so() {
    let fake = fake().await;
    let reply = chat(&fake, LLAMA, "count: 100", json!({"max_tokens": 3})).await.json();
    assert_eq!(reply["choices"][0]["message"]["content"], "1 2 3 4 5 6 ");
    assert_eq!(reply["choices"][0]["finish_reason"], "length");
    assert_eq!(reply["usage"], json!({"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}));
    // Reasoning comes first and may eat it all.
    let reply = chat(&fake, "databricks-gpt-oss-20b", "say: Hi", json!({"max_tokens": 2})).await.json();
    let content = reply["choices"][0]["message"]["content"].as_array().unwrap().clone();
    assert_eq!((content.len(), &content[0]["type"]), (1, &json!("reasoning")));
    let reply = chat(&fake, "databricks-gpt-5", "count: 9", json!({"max_completion_tokens": 1})).await.json();
    assert_eq!(reply["choices"][0]["message"]["content"], "1 2 ");
}

#[tokio::test]
async fn tools_are_called_when_the_prompt_or_the_choice_asks() {
    let fake = fake().await;
    let tools = json!([{"type": "function", "function": {"name": "find", "parameters": {
        "type": "object", "properties": {"q": {"type": "string"}, "n": {"type": "integer"}, "kind": {"enum": ["a", "b"]}}}}}]);
    let call = async |prompt: &str, choice: Value| {
        let mut extra = json!({ "tools": tools });
        if !choice.is_null() {
            extra["tool_choice"] = choice;
        }
        chat(&fake, LLAMA, prompt, extra).await.json()["choices"][0].clone()
    };
    let asked = call("please call the tool", Value::Null).await;
    assert_eq!(asked["finish_reason"], "tool_calls");
    assert_eq!(
        asked["message"]["tool_calls"][0]["function"]["arguments"],
        r#"{"kind":"a","n":1,"q":"fake"}"#
    );
    assert_eq!(call("hello", Value::Null).await["finish_reason"], "stop");
    assert_eq!(call("hello", json!("required")).await["finish_reason"], "tool_calls");
    let named = json!({"type": "function", "function": {"name": "find"}});
    assert_eq!(call("hello", named).await["finish_reason"], "tool_calls");
    assert_eq!(call("call the tool", json!("none")).await["finish_reason"], "stop");
    let body = json!({"model": LLAMA, "messages": [
        {"role": "user", "content": "call the tool"},
        {"role": "assistant", "content": null, "tool_calls": [
            {"id": "call_fake_0", "type": "function", "function": {"name": "find", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "call_fake_0", "content": "42 degrees"}], "tools": tools});
    let reply = post(&fake, "/serving-endpoints/chat/completions", &body).await.json();
    assert_eq!(reply["choices"][0]["message"]["content"], "The tool said: 42 degrees");
}

#[tokio::test]
async fn json_formats_are_answered_in_json() {
    let fake = fake().await;
    let reply =
        chat(&fake, LLAMA, "say: Hi", json!({"response_format": {"type": "json_object"}})).await.json();
    assert_eq!(reply["choices"][0]["message"]["content"], r#"{"answer":"Hi"}"#);
    let schema = json!({"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": ["integer", "null"]}}});
    let format =
        json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}});
    let reply = chat(&fake, LLAMA, "say: Hi", format).await.json();
    assert_eq!(reply["choices"][0]["message"]["content"], r#"{"age":1,"name":"Hi"}"#);
}

#[tokio::test]
async fn what_is_said_can_be_odd() {
    let fake = fake().await;
    let choice = async |model: &str| chat(&fake, model, "hi", json!({})).await.json()["choices"][0].clone();
    assert_eq!(choice("fake-says-nothing").await["message"]["content"], Value::Null);
    assert_eq!(choice("fake-says-refusal").await["message"]["refusal"], "I can't help with that.");
    assert_eq!(choice("fake-says-filtered").await["finish_reason"], "content_filter");
    assert_eq!(choice("fake-says-much-8").await["message"]["content"].as_str().unwrap().len(), 8 * 1024);
}

#[tokio::test]
async fn embeddings_have_1024_numbers_in_either_encoding() {
    let fake = fake().await;
    let embed = async |extra: Value| {
        let mut body = json!({"model": "databricks-bge-large-en", "input": ["quarterly revenue", "x"]});
        body.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap());
        post(&fake, "/serving-endpoints/embeddings", &body).await.json()
    };
    let plain = embed(json!({})).await;
    assert_eq!((&plain["object"], &plain["model"]), (&json!("list"), &json!("bge-large-en-v1.5")));
    assert_eq!(plain["usage"], json!({"prompt_tokens": 5, "total_tokens": 5}));
    let floats: Vec<f32> = serde_json::from_value(plain["data"][0]["embedding"].clone()).unwrap();
    assert_eq!((floats.len(), plain["data"][1]["index"].as_u64()), (1024, Some(1)));
    let encoded = embed(json!({"encoding_format": "base64"})).await;
    let bytes = STANDARD.decode(encoded["data"][0]["embedding"].as_str().unwrap()).unwrap();
    let decoded: Vec<f32> =
        bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    assert_eq!(decoded, floats);
}

#[tokio::test]
async fn embeddings_refuse_what_they_do_not_know() {
    let fake = fake().await;
    for (body, why) in [
        (json!({"input": [1, 2, 3]}), "'input' must be a string or a list of strings."),
        (json!({"input": []}), "'input' must be a string or a list of strings."),
        (json!({"input": "a", "dimensions": 8}), "Bad request: json: unknown field \"dimensions\""),
        (json!({"input": "a", "encoding_format": "int8"}), "'encoding_format' must be 'float' or 'base64'."),
        (json!({"input": "a", "max_tokens": 8}), "Bad request: json: unknown field \"max_tokens\""),
        (json!({"messages": []}), "Bad request: json: unknown field \"messages\""),
    ] {
        let wire = post(&fake, "/serving-endpoints/databricks-bge-large-en/invocations", &body).await;
        assert_eq!((wire.status(), wire.json()["message"].as_str()), (400, Some(why)));
    }
    let short = json!({"model": "databricks-qwen3-embedding-0-6b", "input": "a", "dimensions": 8});
    let wire = post(&fake, "/serving-endpoints/embeddings", &short).await;
    assert_eq!(wire.json()["data"][0]["embedding"].as_array().unwrap().len(), 8);
}

#[tokio::test]
async fn completions_answer_each_prompt() {
    let fake = fake().await;
    let body = json!({"model": LLAMA, "prompt": ["say: One", "say: Two"], "max_tokens": 9});
    let reply = post(&fake, "/serving-endpoints/completions", &body).await.json();
    assert_eq!((&reply["object"], &reply["choices"][1]["text"]), (&json!("text_completion"), &json!("Two")));
    let body = json!({"model": LLAMA, "prompt": "say: Three!", "stream": true});
    let wire = post(&fake, "/serving-endpoints/completions", &body).await;
    let text: String =
        wire.events().iter().map(|event| event["choices"][0]["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(text, "Three!");
    assert!(wire.body().ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn responses_come_from_models_that_speak_them() {
    let fake = fake().await;
    let ask = async |path: &str, model: &str, input: Value| {
        post(&fake, path, &json!({"model": model, "input": input, "max_output_tokens": 40})).await
    };
    let reply = ask("/serving-endpoints/responses", "databricks-gpt-5", json!("say: Hi")).await.json();
    assert_eq!((&reply["object"], &reply["status"]), (&json!("response"), &json!("completed")));
    let items = json!([{"role": "user", "content": [{"type": "input_text", "text": "say: Hi"}]}]);
    let reply = ask("/serving-endpoints/responses", "databricks-gpt-5", items).await.json();
    assert_eq!(reply["output"][0]["content"][0]["text"], "Hi");
    assert_eq!(ask("/serving-endpoints/responses", LLAMA, json!("hi")).await.status(), 400);
    assert_eq!(ask("/serving-endpoints/open-responses", LLAMA, json!("hi")).await.status(), 200);
    let store = json!({"model": "databricks-gpt-5", "input": "hi", "store": true});
    assert_eq!(
        post(&fake, "/serving-endpoints/responses", &store).await.json()["message"],
        "'store' is not supported."
    );
}

#[tokio::test]
async fn the_listing_names_every_endpoint_and_its_task() {
    let fake = fake().await;
    let listing = send(&fake, "GET", "/api/2.0/serving-endpoints", "").await.json();
    let tasks: Vec<String> = listing["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|endpoint| {
            format!("{} {}", endpoint["name"].as_str().unwrap(), endpoint["task"].as_str().unwrap())
        })
        .collect();
    insta::assert_snapshot!("listing", tasks.join("\n"));
    let one = send(&fake, "GET", &format!("/api/2.0/serving-endpoints/{LLAMA}"), "").await.json();
    assert_eq!(one["state"]["ready"], "READY");
}
