use std::sync::Arc;

use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use kt_policy::verdict::{Endpoint, PolicyKind};

use super::{Body, error, refusal};
use crate::error::{CredentialFault, GatewayError, PolicyRefusal, UpstreamFault};

fn block() -> PolicyRefusal {
    PolicyRefusal {
        status: StatusCode::CONFLICT,
        kind: "policy_violation",
        code: "input_blocked",
        policy: Some(PolicyKind::DlpFilter),
        rule: Some(Arc::from("databricks-pat")),
        param: Some("messages[7].content".into()),
        message: "request blocked by `dlp-filter`".to_owned(),
        limit: None,
    }
}

async fn shown(response: Response<Body>) -> String {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let mut headers: Vec<String> =
        parts.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    headers.sort();
    format!("{}\n{}\n\n{}", parts.status.as_u16(), headers.join("\n"), String::from_utf8_lossy(&bytes))
}

#[tokio::test]
async fn errors_have_the_shape_of_openai() {
    insta::assert_snapshot!("a block", shown(error(&GatewayError::Refused(Box::new(block())), "id")).await);
    insta::assert_snapshot!("a busy gateway", shown(error(&GatewayError::Busy, "id")).await);
    insta::assert_snapshot!(
        "a databricks token",
        shown(error(&CredentialFault::DatabricksToken.into(), "id")).await
    );
    insta::assert_snapshot!("a broken upstream", shown(error(&UpstreamFault::BrokeOff.into(), "id")).await);
    insta::assert_snapshot!(
        "a wrong method",
        shown(error(&GatewayError::MethodNotAllowed { allow: "POST" }, "id")).await
    );
}

#[tokio::test]
async fn refusals_have_the_shape_of_an_answer() {
    let now = 1_700_000_000;
    for (name, endpoint, stream) in [
        ("a refusal on chat", Endpoint::ChatCompletions, false),
        ("a refusal on streamed chat", Endpoint::ChatCompletions, true),
        ("a refusal on completions", Endpoint::Completions, false),
        ("a refusal on streamed completions", Endpoint::Completions, true),
        ("a refusal on responses", Endpoint::Responses, false),
        ("a refusal on streamed responses", Endpoint::Responses, true),
    ] {
        let response = refusal::refusal(endpoint, stream, "m", &block(), "id", now).unwrap();
        insta::assert_snapshot!(name, shown(response).await);
    }
    assert!(refusal::refusal(Endpoint::Embeddings, false, "m", &block(), "id", now).is_none());
    insta::assert_snapshot!("a content filter", shown(refusal::content_filter(&block(), "id")).await);
}
