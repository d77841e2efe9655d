//! What only real etcd processes can show.

use std::{collections::BTreeMap, fs, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt as _;
use kt_proto::store::v1::FleetRecord;
use prost::Message as _;
use tokio::time::{Instant, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::contract::{PATIENCE, Place, done, end_of, next_changes, put};
use crate::{
    metrics::MirrorMetrics,
    mirror::{Mirror, MirrorOptions},
    paths::StateKey,
    state::State,
    store::{
        Change, Commit, Committed, EPHEMERAL_SECONDS, PROGRESS_SECONDS, Precondition, Revision, Store,
        StoreError, WatchEnd, WatchEvent, Write,
        etcd::{EtcdError, EtcdSettings, EtcdStore},
        testing::EtcdCluster,
    },
};

const PREFIX: &str = "/keeptrusts/v1/t/";

fn settings(cluster: &EtcdCluster) -> EtcdSettings {
    EtcdSettings::parse(&cluster.url()).unwrap()
}

async fn connect(cluster: &EtcdCluster) -> EtcdStore {
    EtcdStore::connect(&settings(cluster)).await.unwrap()
}

pub(super) async fn open(members: usize) -> (Arc<dyn Store>, EtcdCluster) {
    // Alone, a member elects itself as soon as it may.
    let flags: &[&str] =
        if members == 1 { &["--heartbeat-interval=10", "--election-timeout=100"] } else { &[] };
    let cluster = EtcdCluster::start_with(members, flags).await.unwrap();
    (Arc::new(connect(&cluster).await), cluster)
}

async fn start(members: usize) -> (Place, Arc<EtcdStore>, EtcdCluster) {
    let cluster = EtcdCluster::start(members).await.unwrap();
    let store = Arc::new(connect(&cluster).await);
    (place(&store), store, cluster)
}

fn place(store: &Arc<EtcdStore>) -> Place {
    Place { store: Arc::clone(store) as Arc<dyn Store>, prefix: PREFIX.to_owned() }
}

fn key(name: &str) -> String {
    format!("{PREFIX}{name}")
}

fn ephemeral(name: &str) -> Commit {
    Commit {
        preconditions: Vec::new(),
        writes: vec![Write::PutEphemeral(key(name), Bytes::from_static(b"e"))],
    }
}

// === Compaction and restore ===

#[tokio::test]
async fn a_compacted_watch_is_told_from_where() {
    let (at, store, cluster) = start(1).await;
    let first = at.put("a", "1").await;
    let second = at.put("a", "2").await;
    let third = at.put("a", "3").await;
    let endpoint = format!("--endpoints={}", cluster.address(0));
    cluster.etcdctl(&[&endpoint, "compact", &third.to_string()]).unwrap();
    assert_eq!(end_of(&mut store.watch(&at.prefix, first)).await, WatchEnd::Compacted(third));
    // What stands is loaded, and watched on from there.
    let loaded = store.load(&at.prefix).await.unwrap();
    assert_eq!((loaded.entries.len(), loaded.entries[0].modified), (1, third));
    assert_eq!(next_changes(&mut store.watch(&at.prefix, second)).await.0, third);
    let fourth = done(store.commit(put(&at.key("a"), "4")).await);
    assert_eq!(next_changes(&mut store.watch(&at.prefix, loaded.revision)).await.0, fourth);
}

/// Watches again after each loss, from the last revision seen, until the watch ends for another reason.
async fn final_end(at: &Place, mut seen: Revision) -> WatchEnd {
    let watching = async {
        loop {
            let mut watch = at.store.watch(&at.prefix, seen);
            while let Some(event) = watch.next().await {
                match event {
                    Ok(WatchEvent::Changes { revision, .. } | WatchEvent::Progress { revision }) => {
                        seen = revision;
                    }
                    Err(WatchEnd::Lost(_)) => {}
                    Err(end) => return end,
                }
            }
        }
    };
    timeout(PATIENCE, watching).await.expect("the end is noticed in time")
}

async fn restore_is_detected(members: usize, new_cluster: bool) {
    let (at, store, mut cluster) = start(members).await;
    at.put("kept", "1").await;
    cluster.save("backup").unwrap();
    for value in ["1", "2", "3"] {
        at.put("lost", value).await;
    }
    let (last, epoch) = (at.put("lost", "4").await, store.epoch());
    let mut open = store.watch(&at.prefix, last - 1);
    assert_eq!(next_changes(&mut open).await.0, last);
    cluster.restore("backup", new_cluster).await.unwrap();
    assert_eq!(final_end(&at, last).await, WatchEnd::Restored);
    assert!(matches!(end_of(&mut open).await, WatchEnd::Lost(_) | WatchEnd::Restored));
    assert_ne!(store.epoch(), epoch);
    // What it holds now is loaded, and everything goes on.
    let epoch = store.epoch();
    let loaded = store.load(&at.prefix).await.unwrap();
    assert_eq!(loaded.entries.iter().map(|entry| entry.key.to_string()).collect::<Vec<_>>(), [key("kept")]);
    assert!(loaded.revision < last);
    let mut watch = store.watch(&at.prefix, loaded.revision);
    let next = at.put("new", "1").await;
    assert_eq!(next_changes(&mut watch).await.0, next);
    assert_eq!(store.epoch(), epoch, "one restore is one new epoch");
}

#[tokio::test]
async fn restore_to_older_revision_is_detected() {
    restore_is_detected(1, false).await;
}

#[tokio::test]
async fn restore_as_another_cluster_is_detected() {
    restore_is_detected(3, true).await;
}

#[tokio::test]
async fn a_restore_that_only_a_read_meets_ends_the_watches() {
    let (at, store, mut cluster) = start(1).await;
    cluster.save("backup").unwrap();
    at.put("a", "1").await;
    let epoch = store.epoch();
    cluster.restore("backup", false).await.unwrap();
    assert_eq!(store.get(&at.key("a")).await.unwrap(), None);
    assert_ne!(store.epoch(), epoch);
}

/// Neither the cluster nor a revision tells: while nobody watched, the restored store has grown past what was seen.
#[tokio::test]
async fn a_restore_that_has_come_past_what_was_seen_is_found_by_comparing() {
    let (_, store, mut cluster) = start(1).await;
    let (tasks, stop, metrics) = (TaskTracker::new(), CancellationToken::new(), MirrorMetrics::default());
    let as_store = Arc::clone(&store) as Arc<dyn Store>;
    let mirror = Mirror::start(as_store, MirrorOptions::default(), metrics.clone(), &tasks, stop.clone());
    assert!(mirror.ready().await);
    let fleet = async |name: &str, description: &str| {
        let record = FleetRecord {
            name: name.to_owned(),
            description: description.to_owned(),
            ..FleetRecord::default()
        };
        let write = Write::Put(StateKey::Fleet(name).path(), record.encode_to_vec().into());
        let commit = Commit { writes: vec![write], ..Commit::default() };
        done(store.commit(commit).await)
    };
    fleet("default", "old").await;
    cluster.save("backup").unwrap();
    fleet("default", "new").await;
    let last = fleet("other", "").await;
    assert!(mirror.wait_for(last).await);
    let epoch = store.epoch();

    // This thread is the only one that drives the mirror, and it waits here.
    let restoring = async {
        cluster.restore("backup", false).await.unwrap();
        let endpoint = format!("--endpoints={}", cluster.address(0));
        for n in 0..10 {
            let key = format!("{}of-a-newer-build", crate::paths::STATE);
            cluster.etcdctl(&[&endpoint, "put", &key, &n.to_string()]).unwrap();
        }
    };
    let elsewhere = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(restoring);
    };
    std::thread::scope(|scope| scope.spawn(elsewhere).join()).unwrap();

    let mut states = mirror.subscribe();
    let is_old = |state: &Arc<State>| {
        let default = state.fleet("default").is_some_and(|fleet| fleet.record.description == "old");
        default && state.fleet("other").is_none()
    };
    timeout(PATIENCE, states.wait_for(is_old))
        .await
        .expect("long before the next regular comparison")
        .unwrap();
    assert!(mirror.state().revision > last);
    assert_eq!((metrics.restored.get(), metrics.lost_changes.get()), (1, 0));
    assert_eq!(store.epoch(), epoch, "to the store it looks as ever");
    // It is mirrored on from there.
    let next = fleet("default", "newer").await;
    assert!(mirror.wait_for(next).await);
    assert_eq!(mirror.state().fleet("default").unwrap().record.description, "newer");
    stop.cancel();
}

// === Members that die or freeze ===

#[tokio::test]
async fn killed_and_frozen_etcd_recover() {
    let (at, store, mut cluster) = start(1).await;
    let first = at.put("a", "1").await;
    let mut watch = store.watch(&at.prefix, first - 1);
    assert_eq!(next_changes(&mut watch).await.0, first);

    cluster.freeze(0).unwrap();
    let frozen = Instant::now();
    assert!(matches!(end_of(&mut watch).await, WatchEnd::Lost(_)));
    assert!(frozen.elapsed() < Duration::from_secs(PROGRESS_SECONDS), "noticed after {:?}", frozen.elapsed());
    let read = store.get(&at.key("a")).await;
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
    let written = store.commit(put(&at.key("frozen"), "1")).await;
    assert!(matches!(written, Err(StoreError::OutcomeUnknown(_))), "{written:?}");
    cluster.thaw(0).unwrap();
    assert!(store.get(&at.key("a")).await.unwrap().is_some());
    let second = at.put("a", "2").await;
    let mut watch = store.watch(&at.prefix, first);
    while next_changes(&mut watch).await.0 != second {}

    cluster.kill(0).unwrap();
    assert!(matches!(end_of(&mut watch).await, WatchEnd::Lost(_)));
    let written = store.commit(put(&at.key("dead"), "1")).await;
    assert!(matches!(written, Err(StoreError::Unavailable(_))), "nothing was sent: {written:?}");
    let read = store.load(&at.prefix).await;
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
    cluster.restart(0).await.unwrap();
    assert_eq!(store.get(&at.key("dead")).await.unwrap(), None);
    assert_eq!(store.get(&at.key("a")).await.unwrap().unwrap().modified, second);
    let mut watch = store.watch(&at.prefix, second);
    let third = at.put("a", "3").await;
    assert_eq!(next_changes(&mut watch).await.0, third);
}

/// Raises a counter by one, reading back after an unknown outcome.
async fn raise(at: &Place, to: u64) {
    let trying = async {
        loop {
            let Ok(Some(entry)) = at.store.get(&at.key("counter")).await else { continue };
            if entry.value == to.to_string() {
                return;
            }
            let commit = Commit {
                preconditions: vec![Precondition::Unchanged(at.key("counter"), entry.modified)],
                writes: vec![Write::Put(at.key("counter"), Bytes::from(to.to_string()))],
            };
            match at.store.commit(commit).await {
                Ok(Committed::Done(_)) => return,
                Ok(Committed::Conflict) | Err(StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_)) => {
                }
                Err(other) => panic!("{other}"),
            }
        }
    };
    timeout(PATIENCE, trying).await.expect("two of three members are enough");
}

/// Everything a mirror sees of the counter, across losses of the watch, until it has this value.
async fn values_until(at: &Place, mut seen: Revision, last: u64) -> Vec<u64> {
    let mut values = Vec::new();
    loop {
        let mut watch = at.store.watch(&at.prefix, seen);
        while let Some(event) = watch.next().await {
            match event {
                Ok(WatchEvent::Changes { revision, changes }) => {
                    seen = revision;
                    for change in changes {
                        let Change::Put(entry) = change else { panic!("nothing is deleted") };
                        values.push(std::str::from_utf8(&entry.value).unwrap().parse().unwrap());
                    }
                    if values.last() == Some(&last) {
                        return values;
                    }
                }
                Ok(WatchEvent::Progress { .. }) | Err(WatchEnd::Lost(_)) => {}
                Err(end) => panic!("{end}"),
            }
        }
    }
}

#[tokio::test]
async fn one_of_three_members_may_die_or_freeze() {
    const LAST: u64 = 60;
    let (at, _store, mut cluster) = start(3).await;
    let made = at.put("counter", "0").await;
    let disturb = async {
        for n in 1..=LAST {
            match n {
                10 => {
                    let leader = cluster.leader().unwrap();
                    cluster.kill(leader).unwrap();
                    raise(&at, n).await;
                    cluster.restart(leader).await.unwrap();
                    continue;
                }
                25 => {
                    let leader = cluster.leader().unwrap();
                    cluster.freeze(leader).unwrap();
                    raise(&at, n).await;
                    cluster.thaw(leader).unwrap();
                    continue;
                }
                // Whoever it is that the store talks to is among them.
                40..=42 => {
                    let member = usize::try_from(n).unwrap() % 3;
                    cluster.kill(member).unwrap();
                    raise(&at, n).await;
                    cluster.restart(member).await.unwrap();
                    continue;
                }
                _ => {}
            }
            raise(&at, n).await;
        }
    };
    let watch = timeout(PATIENCE * 4, values_until(&at, made, LAST));
    let (values, ()) = tokio::join!(watch, disturb);
    assert_eq!(
        values.expect("the watch goes on"),
        (1..=LAST).collect::<Vec<_>>(),
        "each value once, in order"
    );
}

#[tokio::test]
async fn a_cluster_without_a_majority_refuses_and_recovers() {
    let (at, store, mut cluster) = start(3).await;
    let first = at.put("a", "1").await;
    let mut watch = store.watch(&at.prefix, first - 1);
    assert_eq!(next_changes(&mut watch).await.0, first);
    cluster.kill(1).unwrap();
    cluster.kill(2).unwrap();
    assert!(matches!(end_of(&mut watch).await, WatchEnd::Lost(_)), "a watch needs a leader");
    let read = store.get(&at.key("a")).await;
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
    let written = store.commit(put(&at.key("a"), "2")).await;
    assert!(
        matches!(written, Err(StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_))),
        "{written:?}"
    );
    cluster.restart(1).await.unwrap();
    read_again(&at).await;
    let mut watch = store.watch(&at.prefix, first);
    let last = at.put("a", "3").await;
    while next_changes(&mut watch).await.0 != last {}
}

/// Reads until an answer comes.
async fn read_again(at: &Place) {
    let reading = async { while at.store.get(&at.key("a")).await.is_err() {} };
    timeout(PATIENCE, reading).await.expect("the cluster comes back");
}

// === Ephemeral values ===

#[tokio::test]
async fn an_ephemeral_value_goes_at_once_when_its_store_is_closed() {
    let (at, store, cluster) = start(1).await;
    let other = connect(&cluster).await;
    let written = done(other.commit(ephemeral("replica")).await);
    let mut watch = store.watch(&at.prefix, written);
    other.close().await;
    let (_, changes) = next_changes(&mut watch).await;
    assert!(matches!(&changes[..], [Change::Delete { key: gone, .. }] if **gone == key("replica")));
}

#[test]
fn an_ephemeral_value_goes_when_its_process_is_silent() {
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(1).build().unwrap();
    let staying = runtime();
    let (at, store, cluster) = staying.block_on(start(1));
    // A runtime that ends takes its tasks with it, without a farewell, as a killed process.
    let dying = runtime();
    let written = dying.block_on(async {
        let other = connect(&cluster).await;
        let written = done(other.commit(ephemeral("replica")).await);
        std::mem::forget(other);
        written
    });
    dying.shutdown_background();
    staying.block_on(async {
        let mut watch = store.watch(&at.prefix, written);
        let limit = Duration::from_secs(EPHEMERAL_SECONDS * 2);
        let (_, changes) = timeout(limit, next_changes(&mut watch)).await.expect("it goes by itself");
        assert!(matches!(&changes[..], [Change::Delete { .. }]));
    });
}

#[tokio::test]
async fn a_lost_lease_is_replaced() {
    let (at, store, cluster) = start(1).await;
    done(store.commit(ephemeral("a")).await);
    let endpoint = format!("--endpoints={}", cluster.address(0));
    let leases = cluster.etcdctl(&[&endpoint, "lease", "list"]).unwrap();
    let lease = leases.lines().last().unwrap().trim();
    cluster.etcdctl(&[&endpoint, "lease", "revoke", lease]).unwrap();
    assert_eq!(store.get(&at.key("a")).await.unwrap(), None);
    done(store.commit(ephemeral("a")).await);
    assert!(store.get(&at.key("a")).await.unwrap().is_some());
    let now = cluster.etcdctl(&[&endpoint, "lease", "list"]).unwrap();
    assert!(!now.contains(lease), "{now}");
}

#[tokio::test]
async fn an_ephemeral_value_outlives_the_death_of_a_member() {
    let (at, store, mut cluster) = start(3).await;
    done(store.commit(ephemeral("replica")).await);
    let leader = cluster.leader().unwrap();
    cluster.kill(leader).unwrap();
    let end = Instant::now() + Duration::from_secs(EPHEMERAL_SECONDS + 5);
    let mut watch = at.watch().await;
    while Instant::now() < end {
        // The watch paces this loop; it may be lost while a leader is elected.
        match timeout(PATIENCE, watch.next()).await.unwrap() {
            Some(Ok(WatchEvent::Progress { .. })) => {}
            Some(Ok(WatchEvent::Changes { changes, .. })) => panic!("{changes:?}"),
            Some(Err(WatchEnd::Lost(_))) | None => {
                read_again(&at).await;
                watch = at.watch().await;
            }
            Some(Err(end)) => panic!("{end}"),
        }
    }
    assert!(store.get(&at.key("replica")).await.unwrap().is_some());
}

// === Refusals ===

#[tokio::test]
async fn a_full_store_says_so_and_still_reads() {
    let cluster = EtcdCluster::start_with(1, &["--quota-backend-bytes=4000000"]).await.unwrap();
    let store = connect(&cluster).await;
    let value = Bytes::from(vec![b'v'; 400_000]);
    let mut written = 0;
    let error = loop {
        let writes = vec![Write::Put(key(&written.to_string()), value.clone())];
        match store.commit(Commit { preconditions: Vec::new(), writes }).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 100);
    };
    assert!(matches!(error, StoreError::Full(_)), "{error:?}");
    assert!(store.load(PREFIX).await.unwrap().entries.len() >= written);
    assert!(matches!(store.commit(put(&key("small"), "1")).await, Err(StoreError::Full(_))));
}

#[tokio::test]
async fn user_and_password_are_demanded_and_used() {
    let mut cluster = EtcdCluster::start(1).await.unwrap();
    let endpoint = format!("--endpoints={}", cluster.address(0));
    let without_login = connect(&cluster).await;
    let too_early = EtcdStore::connect(&settings(&cluster).with_login("kt", "right".to_owned().into()))
        .await
        .unwrap_err();
    assert!(matches!(too_early, EtcdError::Store(StoreError::Denied(_))), "{too_early:?}");
    for command in [
        "user add root:root",
        "user grant-role root root",
        "role add kt",
        "role grant-permission kt --prefix=true readwrite /keeptrusts/v1/",
        "user add kt:right",
        "user grant-role kt kt",
        "auth enable",
    ] {
        let arguments: Vec<_> = std::iter::once(endpoint.as_str()).chain(command.split(' ')).collect();
        cluster.etcdctl(&arguments).unwrap();
    }
    let denied =
        |error: EtcdError| assert!(matches!(error, EtcdError::Store(StoreError::Denied(_))), "{error:?}");
    denied(EtcdStore::connect(&settings(&cluster)).await.unwrap_err());
    denied(
        EtcdStore::connect(&settings(&cluster).with_login("kt", "wrong".to_owned().into()))
            .await
            .unwrap_err(),
    );
    let refused = without_login.commit(put(&key("a"), "1")).await;
    assert!(matches!(refused, Err(StoreError::Denied(_))), "{refused:?}");

    let login = settings(&cluster).with_login("kt", "right".to_owned().into());
    let store = Arc::new(EtcdStore::connect(&login).await.unwrap());
    let at = place(&store);
    let first = at.put("a", "1").await;
    assert_eq!(next_changes(&mut store.watch(PREFIX, first - 1)).await.0, first);
    done(store.commit(ephemeral("replica")).await);
    let outside = store.commit(put("/elsewhere", "1")).await;
    assert!(matches!(outside, Err(StoreError::Denied(_))), "{outside:?}");
    let outside = store.load("/elsewhere").await;
    assert!(matches!(outside, Err(StoreError::Denied(_))), "{outside:?}");
    assert!(matches!(end_of(&mut store.watch("/elsewhere", first)).await, WatchEnd::Lost(_)));

    // A change of rights and a restart make the token worthless; the next call gets another.
    let root = ["--user=root:root", "user", "add", "another:one"];
    cluster.etcdctl(&[&[endpoint.as_str()], &root[..]].concat()).unwrap();
    at.put("a", "2").await;
    cluster.kill(0).unwrap();
    cluster.restart(0).await.unwrap();
    assert!(store.get(&at.key("a")).await.unwrap().is_some());
    let last = at.put("a", "3").await;
    let mut watch = store.watch(PREFIX, last - 1);
    assert_eq!(next_changes(&mut watch).await.0, last);
}

#[tokio::test]
async fn tls_checks_both_sides() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = |name: &str, content: String| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let authority = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap();
        (certificate.pem(), rcgen::Issuer::new(params, key))
    };
    let (ca_pem, ca) = authority("ours");
    let (other_pem, _) = authority("another");
    let signed = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params =
            rcgen::CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages =
            vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth, rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &ca).unwrap();
        (file(&format!("{name}.pem"), certificate.pem()), file(&format!("{name}.key"), key.serialize_pem()))
    };
    let (ca_file, other_file) = (file("ca.pem", ca_pem), file("other.pem", other_pem));
    let (server, server_key) = signed("server");
    let (client, client_key) = signed("client");
    let flags = [
        format!("--cert-file={}", server.display()),
        format!("--key-file={}", server_key.display()),
        format!("--trusted-ca-file={}", ca_file.display()),
        "--client-cert-auth".to_owned(),
    ];
    let cluster = EtcdCluster::start_with_tls(1, &flags.each_ref().map(String::as_str)).await.unwrap();
    let right = settings(&cluster).with_ca_file(&ca_file).with_client_certificate(&client, &client_key);
    let store = Arc::new(EtcdStore::connect(&right).await.unwrap());
    let first = place(&store).put("a", "1").await;
    assert_eq!(next_changes(&mut store.watch(PREFIX, first - 1)).await.0, first);

    let wrong_authority =
        settings(&cluster).with_ca_file(&other_file).with_client_certificate(&client, &client_key);
    let error = EtcdStore::connect(&wrong_authority).await.unwrap_err();
    assert!(matches!(error, EtcdError::Store(StoreError::Unavailable(_))), "{error:?}");
    assert!(error.to_string().contains("certificate"), "{error}");
    let no_certificate = settings(&cluster).with_ca_file(&ca_file);
    let error = EtcdStore::connect(&no_certificate).await.unwrap_err();
    assert!(matches!(error, EtcdError::Store(StoreError::Unavailable(_))), "{error:?}");
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_unavailable_with_a_reason() {
    let settings = EtcdSettings::parse("etcd://127.0.0.1:1,127.0.0.1:2").unwrap();
    let error = EtcdStore::connect(&settings).await.unwrap_err();
    assert!(matches!(error, EtcdError::Store(StoreError::Unavailable(_))), "{error:?}");
    assert!(error.to_string().contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn a_server_with_smaller_limits_refuses_by_size() {
    let cluster =
        EtcdCluster::start_with(1, &["--max-request-bytes=100000", "--max-txn-ops=10"]).await.unwrap();
    let store = connect(&cluster).await;
    let large = vec![Write::Put(key("a"), Bytes::from(vec![b'v'; 200_000]))];
    let many = (0..20).map(|n| Write::Put(key(&n.to_string()), Bytes::from_static(b"v"))).collect();
    for writes in [large, many] {
        let answer = store.commit(Commit { preconditions: Vec::new(), writes }).await;
        assert!(matches!(answer, Err(StoreError::TooLarge(_))), "{answer:?}");
    }
    let entries: BTreeMap<_, _> =
        store.load(PREFIX).await.unwrap().entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
    assert!(entries.is_empty());
}
