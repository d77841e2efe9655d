//! Every method of the descriptors against every role: who gets past the gate.

use std::fmt::Write as _;

use kt_proto::{
    refusal::{Code, Refusal},
    v1::Role,
};
use prost::Message as _;
use tokio_stream::StreamExt as _;
use tonic::{Request, Status, codegen::http::uri::PathAndQuery};

use crate::plane::{Caller, LONG, Plane};

/// The path of every method of ours.
fn methods() -> Vec<String> {
    let set = prost_types::FileDescriptorSet::decode(kt_proto::DESCRIPTORS).unwrap();
    let mut paths = Vec::new();
    for file in set.file {
        for service in &file.service {
            let methods = service.method.iter();
            paths.extend(
                methods.map(|method| format!("/{}.{}/{}", file.package(), service.name(), method.name())),
            );
        }
    }
    assert!(paths.len() > 20, "{paths:?}");
    paths
}

/// Sends one empty message, whatever the method takes, and reads the first answer, whatever it gives.
async fn call(caller: &Caller, path: &str) -> Result<(), Status> {
    let mut grpc = tonic::client::Grpc::new(caller.service());
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let request = Request::new(tokio_stream::iter([()]));
    let path: PathAndQuery = path.parse().unwrap();
    let answering = async {
        let mut answers = grpc.streaming(request, path, codec).await?.into_inner();
        answers.next().await.unwrap_or(Ok(()))
    };
    tokio::time::timeout(LONG, answering).await.expect("it answers")
}

/// What the gate said; a refusal of the method itself counts as let through.
fn gate(answer: &Result<(), Status>) -> &'static str {
    let Err(status) = answer else { return "yes" };
    match Refusal::of(status).map(|refusal| refusal.code) {
        Some(Code::RoleMissing) => "-",
        Some(Code::TokenUnknown) => "no token",
        Some(_) => "yes",
        None => panic!("a status that is none of ours: {status:?}"),
    }
}

#[tokio::test]
async fn every_role_gets_to_its_calls_and_to_no_other() {
    let plane = Plane::start().await;
    let first = plane.first();
    let mut callers = vec![("nobody", plane.caller(None))];
    // The admin last: it ends the token that makes the others.
    for (name, role) in [
        ("viewer", Role::Viewer),
        ("publisher", Role::Publisher),
        ("auditor", Role::Auditor),
        ("gateway", Role::Gateway),
        ("admin", Role::Admin),
    ] {
        let fleet = if role == Role::Gateway { "default" } else { "" };
        let token = first.token(name, &[role], fleet).await;
        callers.push((name, plane.caller(Some(&token))));
    }
    callers.push(("unknown token", plane.caller(Some("kt_at_nobody"))));
    let mut table = String::new();
    let names: Vec<_> = callers.iter().map(|(name, _)| *name).collect();
    writeln!(table, "| call | {} |", names.join(" | ")).unwrap();
    for path in methods() {
        let mut row = Vec::new();
        for (_, caller) in &callers {
            row.push(gate(&call(caller, &path).await));
        }
        let name = path.strip_prefix("/keeptrusts.v1.").unwrap();
        writeln!(table, "| {name} | {} |", row.join(" | ")).unwrap();
    }
    insta::assert_snapshot!(table);
    plane.stop().await;
}

#[tokio::test]
async fn a_method_that_is_not_in_the_table_cannot_be_called() {
    let plane = Plane::start().await;
    for path in ["/keeptrusts.v1.PackService/Later", "/keeptrusts.v2.PackService/CheckPack", "/x.y/Z"] {
        assert_eq!(gate(&call(&plane.caller(None), path).await), "no token", "{path}");
        let refusal = Refusal::of(&call(&plane.first(), path).await.unwrap_err()).unwrap();
        assert_eq!(refusal.code, Code::ArgumentInvalid, "{path}");
    }
    plane.stop().await;
}
