//! Tokens, personal and OAuth.

use std::time::Duration;

use kt_tests::fake_databricks::{FakeDatabricks, Rule};
use serde_json::{Value, json};

use crate::client::{Wire, chat_body, exchange, request, send};

const LLAMA: &str = "databricks-meta-llama-3-3-70b-instruct";

async fn with(fake: &FakeDatabricks, authorization: &[(&str, &str)], model: &str) -> (u16, Value) {
    let body = chat_body(model, "hi", json!({})).to_string();
    let wire =
        exchange(fake.addr(), &request("POST", "/serving-endpoints/chat/completions", authorization, &body))
            .await;
    let mut json = wire.json();
    if let Some(message) = json["message"].as_str().and_then(|text| text.split_once(" [ReqId: ")) {
        assert_eq!(Some(message.1.trim_end_matches(']')), wire.header("x-request-id").as_deref());
        json["message"] = message.0.into();
    }
    (wire.status(), json)
}

#[tokio::test]
async fn a_personal_token_is_judged_before_anything_else() {
    let fake = FakeDatabricks::builder().token("dapi1").token_denied("dapi2", LLAMA).start().await.unwrap();
    let missing = json!({"error_code": 401, "message": "Credential was not sent or was of an unsupported type for this API."});
    let invalid = json!({"error_code": 403, "message": "Invalid access token."});
    assert_eq!(with(&fake, &[], LLAMA).await, (401, missing.clone()));
    assert_eq!(with(&fake, &[("authorization", "Basic Zm9vOmJhcg==")], LLAMA).await, (401, missing));
    assert_eq!(with(&fake, &[("authorization", "Bearer dapi3")], LLAMA).await, (403, invalid.clone()));
    assert_eq!(with(&fake, &[("authorization", "Bearer dapi3")], "fake-503").await, (403, invalid));
    assert_eq!(with(&fake, &[("authorization", "bearer dapi1")], LLAMA).await.0, 200);

    let (status, denied) = with(&fake, &[("authorization", "Bearer dapi2")], LLAMA).await;
    assert_eq!((status, &denied["error_code"]), (403, &json!("PERMISSION_DENIED")));
    assert_eq!(denied["message"], format!("User does not have permission 'View' on Endpoint {LLAMA}"));
    assert_eq!(denied["details"][0]["@type"], "type.googleapis.com/google.rpc.RequestInfo");
    assert_eq!(with(&fake, &[("authorization", "Bearer dapi2")], "databricks-gpt-5").await.0, 200);
}

async fn grant(fake: &FakeDatabricks, basic: &str, form: &str) -> Wire {
    let headers = [("authorization", basic), ("content-type", "application/x-www-form-urlencoded")];
    let some = &headers[usize::from(basic.is_empty())..];
    exchange(fake.addr(), &request("POST", "/oidc/v1/token", some, form)).await
}

const FORM: &str = "grant_type=client_credentials&scope=all-apis";

#[tokio::test]
async fn an_oauth_client_gets_a_token_by_either_way_of_asking() {
    let fake = FakeDatabricks::builder().oauth_client("app-1", "s3cr3t/+").start().await.unwrap();
    let by_form = format!("{FORM}&client_id=app-1&client_secret=s3cr3t%2F%2B");
    // app-1:s3cr3t/+
    for (basic, form) in [("Basic YXBwLTE6czNjcjN0Lys=", FORM), ("", by_form.as_str())] {
        let wire = grant(&fake, basic, form).await;
        let reply = wire.json();
        assert_eq!(wire.status(), 200);
        assert_eq!((&reply["token_type"], &reply["scope"]), (&json!("Bearer"), &json!("all-apis")));
        assert_eq!(reply["expires_in"], 3600);
        let bearer = format!("Bearer {}", reply["access_token"].as_str().unwrap());
        assert_eq!(bearer.matches('.').count(), 2, "a JWT in form");
        assert_eq!(with(&fake, &[("authorization", &bearer)], LLAMA).await.0, 200);
        fake.expire_oauth_tokens();
        let (status, refused) = with(&fake, &[("authorization", &bearer)], LLAMA).await;
        assert_eq!((status, &refused["message"]), (403, &json!("Invalid access token.")));
    }
}

#[tokio::test]
async fn an_oauth_token_dies_at_the_end_of_its_life() {
    let builder = FakeDatabricks::builder().oauth_client("a", "b").oauth_ttl(Duration::ZERO);
    let fake = builder.start().await.unwrap();
    let reply = grant(&fake, "Basic YTpi", FORM).await.json();
    let bearer = format!("Bearer {}", reply["access_token"].as_str().unwrap());
    assert_eq!(with(&fake, &[("authorization", &bearer)], LLAMA).await.0, 403);
}

#[tokio::test]
async fn the_token_endpoint_refuses_in_two_forms() {
    let fake = FakeDatabricks::builder().oauth_client("a", "b").start().await.unwrap();
    let refused = grant(&fake, "Basic YTp3cm9uZw==", FORM).await;
    assert_eq!((refused.status(), &refused.json()["error"]), (401, &json!("invalid_client")));
    let scope = grant(&fake, "Basic YTpi", "grant_type=client_credentials").await;
    assert_eq!((scope.status(), &scope.json()["error"]), (400, &json!("invalid_scope")));
    let kind = grant(&fake, "Basic YTpi", "grant_type=password&scope=all-apis").await;
    assert_eq!(kind.json()["error"], "unsupported_grant_type");
    fake.script([Rule::next("@token", "oidc-old-error", 1), Rule::next("@token", "503", 1)]).unwrap();
    assert_eq!(grant(&fake, "Basic YTpi", FORM).await.json()["errorCode"], "invalid_client");
    assert_eq!(grant(&fake, "Basic YTpi", FORM).await.status(), 503);
    assert_eq!(grant(&fake, "Basic YTpi", FORM).await.status(), 200);
}

#[tokio::test]
async fn the_discovery_document_leads_to_the_token_endpoint() {
    let fake = FakeDatabricks::start().await.unwrap();
    let wire = send(&fake, "GET", "/oidc/.well-known/oauth-authorization-server", "").await;
    assert_eq!(wire.json()["token_endpoint"], "http://fake/oidc/v1/token");
}
