//! A directory whose gateway never comes back.

use kt_audit::record::{Body, End};
use kt_data_plane::{
    audit::{self, Durability},
    ship::{ShipError, ShipOptions, ship_directory},
};
use kt_tests::fake_ingest::FakeIngest;
use uuid::Uuid;

use crate::spool::{PATIENCE, Spool, assert_delivered};

fn options(spool: &Spool, url: &str, read_only: bool) -> ShipOptions {
    ShipOptions { dir: spool.audit(), control: spool.control(url), read_only }
}

#[tokio::test]
async fn what_is_left_is_delivered_and_open_requests_get_their_end() {
    let mut spool = Spool::new();
    let mut ids = spool.write(500).await;
    let open = Uuid::from_u128(1 << 100);
    {
        let (log, writer) = audit::open(&spool.audit(), &spool.settings).unwrap();
        let body = kt_audit::record::Opened { id: open, ..Default::default() };
        log.append(Body::Opened(Box::new(body)), Durability::Block, None).await.unwrap();
        writer.close(PATIENCE).await.unwrap();
    }
    let store = FakeIngest::new();
    let server = store.serve(0).await.unwrap();
    let mut told = Vec::new();
    let shipped =
        ship_directory(options(&spool, &server.url(), false), std::future::pending(), |done, left| {
            told.push((done, left));
        })
        .await
        .unwrap();
    let kept = store.kept();
    assert!(shipped.is_complete, "{shipped:?}");
    assert_eq!((shipped.records, shipped.duplicates), (kept.len() as u64, 0));
    assert_eq!(told.last(), Some(&(kept.len() as u64, 0)));
    ids.push(open);
    assert_delivered(&kept, &ids);
    let end = kept.records().find_map(|record| match record.body {
        Body::Closed(closed) if closed.id == open => Some(closed.end),
        _ => None,
    });
    assert_eq!(end, Some(End::Interrupted));
}

#[tokio::test]
async fn a_directory_that_is_only_read_is_delivered_and_stays_as_it_is() {
    let mut spool = Spool::new();
    let ids = spool.write(200).await;
    let listed = |spool: &Spool| {
        let mut files: Vec<_> = std::fs::read_dir(spool.audit())
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name(), std::fs::read(entry.path()).unwrap()))
            .filter(|(name, _)| name != "shipped.json")
            .collect();
        files.sort();
        files
    };
    let before = listed(&spool);
    let store = FakeIngest::new();
    let server = store.serve(0).await.unwrap();
    let shipped = ship_directory(options(&spool, &server.url(), true), std::future::pending(), |_, _| {})
        .await
        .unwrap();
    assert!(shipped.is_complete, "{shipped:?}");
    let kept = store.kept();
    assert_delivered(&kept, &ids);
    assert_eq!(kept.hellos[0].running, None);
    assert_eq!(kept.names.len(), 3);
    assert_eq!(listed(&spool), before);
}

#[tokio::test]
async fn a_directory_that_is_written_to_is_left_to_its_gateway() {
    let spool = Spool::new();
    let (_log, _writer) = audit::open(&spool.audit(), &spool.settings).unwrap();
    let error =
        ship_directory(options(&spool, "http://127.0.0.1:1", false), std::future::pending(), |_, _| {})
            .await
            .unwrap_err();
    assert!(matches!(error, ShipError::Open { error: audit::OpenError::InUse { .. }, .. }), "{error:?}");
}

#[tokio::test]
async fn a_store_that_is_not_there_is_told_and_the_records_stay() {
    let mut spool = Spool::new();
    let ids = spool.write(20).await;
    let shipped =
        ship_directory(options(&spool, "http://127.0.0.1:1", false), std::future::pending(), |_, _| {})
            .await
            .unwrap();
    assert!(!shipped.is_complete);
    assert!(shipped.fault.unwrap().contains("can't be reached"));
    let store = FakeIngest::new();
    let server = store.serve(0).await.unwrap();
    assert!(spool.run(&server.url()).stop().await);
    assert_delivered(&store.kept(), &ids);
}
