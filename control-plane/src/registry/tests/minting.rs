use secrecy::ExposeSecret as _;
use v1::Role;

use super::*;
use crate::bootstrap;

fn ask(name: &str, roles: &[Role]) -> v1::CreateTokenRequest {
    v1::CreateTokenRequest {
        name: name.to_owned(),
        roles: roles.iter().map(|role| i32::from(*role)).collect(),
        request_id: request_id(),
        ..v1::CreateTokenRequest::default()
    }
}

async fn create(plane: &Plane, request: &v1::CreateTokenRequest) -> Result<v1::Token, Refusal> {
    plane.registry.create_token("ann (at_1)", request).await.map(|(token, _)| token)
}

async fn revoke(plane: &Plane, id: &str) -> Result<v1::Token, Refusal> {
    plane.registry.revoke_token("ann (at_1)", id, "left").await
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_shown_once_and_only_its_hash_is_stored() {
    let plane = Plane::new().await;
    let (token, secret) = plane.registry.create_token("ann", &ask("bob", &[Role::Viewer])).await.unwrap();
    let secret = secret.expose_secret();
    assert!(secret.starts_with("kt_at_") && secret.len() == 6 + 64);
    let key = secret.trim_start_matches("kt_at_").as_bytes();
    for entry in plane.everything().await {
        assert!(!entry.value.windows(key.len()).any(|window| window == key), "{}", entry.key);
    }
    assert_eq!(plane.changes().await[0], format!("token.create bob ({})", token.id));
    let mut gateway = ask("edge", &[Role::Gateway]);
    gateway.fleet = "default".to_owned();
    let (token, secret) = plane.registry.create_token("ann", &gateway).await.unwrap();
    assert!(secret.expose_secret().starts_with("kt_gw_") && token.id.starts_with("gw_"));
}

#[tokio::test(start_paused = true)]
async fn tokens_that_make_no_sense_are_refused_and_nothing_is_stored() {
    let plane = Plane::new().await;
    let before = plane.everything().await;
    let fleet = |request: v1::CreateTokenRequest, fleet: &str| v1::CreateTokenRequest {
        fleet: fleet.to_owned(),
        ..request
    };
    for (what, request, code) in [
        ("no name", ask("", &[Role::Admin]), Code::ArgumentInvalid),
        ("no role", ask("a", &[]), Code::ArgumentInvalid),
        ("a role that is none", ask("a", &[Role::Unspecified]), Code::ArgumentInvalid),
        (
            "a role of a later build",
            v1::CreateTokenRequest { roles: vec![99], ..ask("a", &[]) },
            Code::ArgumentInvalid,
        ),
        (
            "a gateway that is an admin",
            fleet(ask("a", &[Role::Gateway, Role::Admin]), "default"),
            Code::ArgumentInvalid,
        ),
        ("a gateway without a fleet", ask("a", &[Role::Gateway]), Code::ArgumentInvalid),
        ("a person with a fleet", fleet(ask("a", &[Role::Admin]), "default"), Code::ArgumentInvalid),
        ("a gateway of no fleet", fleet(ask("a", &[Role::Gateway]), "edge"), Code::FleetUnknown),
        (
            "an expired one",
            v1::CreateTokenRequest { expires_us: 1, ..ask("a", &[Role::Admin]) },
            Code::ArgumentInvalid,
        ),
    ] {
        assert_eq!(create(&plane, &request).await.expect_err(what).code, code, "{what}");
        assert_eq!(plane.everything().await, before, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_whose_outcome_was_unknown_is_made_once_and_a_repeat_does_not_show_a_secret() {
    for fault in [Fault::UnknownButDone, Fault::UnknownAndNotDone] {
        let plane = Plane::new().await;
        plane.store.fault_next(fault);
        let request = ask("bob", &[Role::Viewer]);
        create(&plane, &request).await.unwrap();
        assert_eq!(create(&plane, &request).await.unwrap_err().code, Code::RequestIdReused);
        assert_eq!(tokens::list(&plane.registry.mirror.state(), true).len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_admin_stays_also_when_two_revoke_each_other() {
    let plane = Plane::new().await;
    let one = create(&plane, &ask("one", &[Role::Admin])).await.unwrap().id;
    assert_eq!(revoke(&plane, &one).await.unwrap_err().code, Code::LastAdmin);
    let two = create(&plane, &ask("two", &[Role::Admin])).await.unwrap().id;
    let other = Plane::over(plane.store.clone(), Trust::default()).await;
    let (a, b) = tokio::join!(revoke(&plane, &one), revoke(&other, &two));
    let refusal = match (a, b) {
        (Ok(_), Err(refusal)) | (Err(refusal), Ok(_)) => refusal,
        both => panic!("{both:?}"),
    };
    assert_eq!(refusal.code, Code::LastAdmin);
    assert_eq!(revoke(&plane, "at_none").await.unwrap_err().code, Code::TokenNotFound);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_revoked_stays_as_it_was_revoked() {
    let plane = Plane::new().await;
    let viewer = create(&plane, &ask("bob", &[Role::Viewer])).await.unwrap();
    let revoked = revoke(&plane, &viewer.id).await.unwrap();
    assert_ne!(revoked.revoked_us, 0);
    let before = plane.everything().await;
    assert_eq!(revoke(&plane, &viewer.id).await.unwrap(), revoked);
    assert_eq!(plane.everything().await, before);
    assert!(tokens::list(&plane.registry.mirror.state(), false).is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_of_two_replicas_makes_the_bootstrap_token_and_the_first_admin_ends_it() {
    let store = Scripted::new();
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, two) =
        tokio::join!(bootstrap::run(&shared, a.path(), "a"), bootstrap::run(&shared, b.path(), "b"));
    let made: Vec<_> = [one.unwrap(), two.unwrap()].into_iter().flatten().collect();
    assert_eq!(made.len(), 1, "one winner");
    let written = std::fs::read_to_string(&made[0].file).unwrap();
    assert_eq!(written.trim_end(), made[0].secret.expose_secret());
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&made[0].file).unwrap().permissions().mode() & 0o777, 0o600);
    let files = [a.path(), b.path()].map(|folder| folder.join(bootstrap::TOKEN_FILE).try_exists().unwrap());
    assert_eq!(files.into_iter().filter(|is_there| *is_there).count(), 1, "the loser leaves no file");

    let plane = Plane::over(store, Trust::default()).await;
    let token = tokens::list(&plane.registry.mirror.state(), false).remove(0);
    assert!(token.is_bootstrap && token.expires_us > token.created_us);
    assert!(plane.registry.fleet(bootstrap::DEFAULT_FLEET).await.is_ok());
    create(&plane, &ask("bob", &[Role::Viewer])).await.unwrap();
    assert_eq!(tokens::list(&plane.registry.mirror.state(), false).len(), 2);
    create(&plane, &ask("ann", &[Role::Admin])).await.unwrap();
    let live = tokens::list(&plane.registry.mirror.state(), false);
    assert!(live.iter().all(|token| !token.is_bootstrap), "{live:?}");
    assert!(bootstrap::run(&shared, a.path(), "a").await.unwrap().is_none(), "there is an admin");
}

#[tokio::test(start_paused = true)]
async fn a_bootstrap_token_that_died_unused_is_replaced_at_the_next_start() {
    let store = Scripted::new();
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let folder = tempfile::tempdir().unwrap();
    let first = bootstrap::run(&shared, folder.path(), "a").await.unwrap().unwrap();
    assert!(bootstrap::run(&shared, folder.path(), "a").await.unwrap().is_none(), "it lives");
    // A day later.
    let entry = store.load(&paths::tokens()).await.unwrap().entries.remove(0);
    let mut record = kt_proto::store::v1::TokenRecord::decode(entry.value).unwrap();
    record.token.as_mut().unwrap().expires_us = 1;
    let write = Write::Put(entry.key.to_string(), record.encode_to_vec().into());
    store.commit(Commit { writes: vec![write], ..Commit::default() }).await.unwrap();
    let second = bootstrap::run(&shared, folder.path(), "a").await.unwrap().unwrap();
    assert_ne!(first.secret.expose_secret(), second.secret.expose_secret());
}
