//! What only real etcd processes can show.

use std::sync::Arc;

use super::contract::{Place, done, end_of, next_changes, put};
use crate::store::{
    Store, WatchEnd,
    etcd::{EtcdSettings, EtcdStore},
    testing::EtcdCluster,
};

pub(super) async fn connect(cluster: &EtcdCluster) -> EtcdStore {
    EtcdStore::connect(&EtcdSettings::parse(&cluster.url()).unwrap()).await.unwrap()
}

pub(super) async fn open(members: usize) -> (Arc<dyn Store>, EtcdCluster) {
    let cluster = EtcdCluster::start(members).await.unwrap();
    (Arc::new(connect(&cluster).await), cluster)
}

fn place(store: &Arc<EtcdStore>) -> Place {
    Place { store: Arc::clone(store) as Arc<dyn Store>, prefix: "/keeptrusts/v1/t/".to_owned() }
}

#[tokio::test]
async fn a_compacted_watch_is_told_from_where() {
    let cluster = EtcdCluster::start(1).await.unwrap();
    let store = Arc::new(connect(&cluster).await);
    let at = place(&store);
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
