//! The contract of [`super::Store`], held against each store.

mod contract;
#[cfg(feature = "etcd")]
mod etcd;
mod scripted;

use std::sync::Arc;

use tempfile::TempDir;

use self::contract::{Place, for_each_check};
use super::{embedded::Embedded, scripted::Scripted};

macro_rules! tests_of {
    ($open:expr; $($check:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                let (store, _keep) = $open.await;
                let prefix = format!("/keeptrusts/v1/{}/", stringify!($check));
                contract::$check(Place { store, prefix }).await;
            }
        )*
    };
}

mod on_embedded {
    use super::*;

    async fn open() -> (Arc<dyn super::super::Store>, TempDir) {
        let folder = TempDir::new().unwrap();
        let store = Embedded::open(folder.path().join("store.redb")).await.unwrap();
        (Arc::new(store), folder)
    }

    for_each_check!(tests_of, open());
}

macro_rules! paused_tests_of {
    ($open:expr; $($check:ident,)*) => {
        $(
            #[tokio::test(start_paused = true)]
            async fn $check() {
                let prefix = format!("/keeptrusts/v1/{}/", stringify!($check));
                contract::$check(Place { store: $open, prefix }).await;
            }
        )*
    };
}

mod on_scripted {
    use super::*;

    for_each_check!(paused_tests_of, Arc::new(Scripted::new()));
}

#[cfg(feature = "etcd")]
mod on_one_etcd {
    use super::{etcd::open, *};

    for_each_check!(tests_of, open(1));
}

#[cfg(feature = "etcd")]
mod on_three_etcd {
    use super::{etcd::open, *};

    for_each_check!(tests_of, open(3));
}
