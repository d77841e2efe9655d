//! Three replicas over three etcd members, while one of them after another dies.

use kt_control_plane::{
    settings::{AuditSettings, Settings, StoreSettings},
    store::{etcd::EtcdSettings, testing::EtcdCluster},
};
use kt_proto::{
    refusal::{Code, Refusal},
    signed,
    v1::{self, Role},
};

use crate::plane::{Caller, Plane, settings};

const PUBLISHES: u64 = 30;

async fn replica(cluster: &EtcdCluster) -> Plane {
    let folder = tempfile::tempdir().unwrap();
    let store = StoreSettings::Etcd(EtcdSettings::parse(&cluster.url()).unwrap());
    let audit = AuditSettings::Off;
    Plane::with(Settings { store, audit, ..settings(folder.path()) }, folder).await
}

/// Publishes as `kt` does: again with the same request id where that makes sense.
async fn publish(caller: &Caller, expected: u64, pack: &v1::PackRef) -> v1::AssignResponse {
    let statement = v1::AssignmentStatement {
        fleet: "default".to_owned(),
        generation: expected + 1,
        packs: vec![pack.clone()],
        expires_us: 0,
    };
    let request = v1::AssignRequest {
        fleet: "default".to_owned(),
        expected_generation: expected,
        assignment: Some(signed::seal(&statement, &[])),
        kind: v1::AssignmentKind::Publish.into(),
        request_id: uuid::Uuid::now_v7().to_string(),
        ..v1::AssignRequest::default()
    };
    let trying = async {
        loop {
            let refused = match caller.fleets().assign(request.clone()).await {
                Ok(answer) => break answer.into_inner(),
                Err(status) => Refusal::of(&status).unwrap_or_else(|| panic!("{status:?}")),
            };
            assert!(refused.code.is_retryable(), "{refused:?}");
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), trying).await.expect("it is published")
}

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_over_three_members_lose_and_double_no_publish_while_members_die() {
    let mut cluster = EtcdCluster::start(3).await.unwrap();
    let (one, two, three) = tokio::join!(replica(&cluster), replica(&cluster), replica(&cluster));
    let replicas = [one, two, three];
    let secrets: Vec<_> = replicas.iter().filter_map(|replica| replica.secret.clone()).collect();
    assert_eq!(secrets.len(), 1, "one bootstrap token for all");
    let first = replicas[0].caller(Some(&secrets[0]));
    let token = first.token("ann", &[Role::Admin], "").await;
    let callers: Vec<_> = replicas.iter().map(|replica| replica.caller(Some(&token))).collect();
    let pack = callers[0].upload("1.0.0").await;
    // The others learn of the token through their watches.
    for caller in &callers {
        while caller.tokens().who_am_i(v1::WhoAmIRequest {}).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
    let mut dead = None;
    for generation in 0..PUBLISHES {
        if generation % 10 == 5 {
            let leader = cluster.leader().unwrap();
            cluster.kill(leader).unwrap();
            dead = Some(leader);
        }
        if generation % 10 == 9
            && let Some(number) = dead.take()
        {
            cluster.restart(number).await.unwrap();
        }
        let caller = &callers[usize::try_from(generation).unwrap() % callers.len()];
        publish(caller, generation, &pack).await;
    }
    // All tell the same: each generation once, in order.
    for caller in &callers {
        let request = v1::ListAssignmentsRequest { fleet: "default".to_owned(), ..Default::default() };
        let listed = caller.fleets().list_assignments(request).await.unwrap().into_inner().assignments;
        let read = |a: &v1::Assignment| {
            signed::read::<v1::AssignmentStatement>(a.assignment.as_ref().unwrap()).unwrap().generation
        };
        let generations: Vec<_> = listed.iter().map(read).collect();
        assert_eq!(generations, (1..=PUBLISHES).rev().collect::<Vec<_>>());
    }
    // Two at the same time, through two replicas: one wins.
    let (a, b) = tokio::join!(callers[0].publish(PUBLISHES, &pack), callers[1].publish(PUBLISHES, &pack));
    let lost = match (a, b) {
        (Ok(_), Err(status)) | (Err(status), Ok(_)) => status,
        both => panic!("{both:?}"),
    };
    assert_eq!(Refusal::of(&lost).unwrap().code, Code::GenerationConflict);
    for replica in replicas {
        replica.stop().await;
    }
}
