//! Parquet files on object storage.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{FutureExt as _, future::BoxFuture};
use jiff::Timestamp;
use kt_audit::{
    Digest,
    columns::{Row, parquet::Writer},
};
use object_store::{ObjectStore as Store, ObjectStoreExt as _, local::LocalFileSystem, path::Path};
use url::Url;

use super::{Batch, Sink, Undelivered, settings::ObjectStore};

/// Rows that are one row group.
const GROUP: usize = 10_000;
/// Environment variables that options are taken from.
const VARIABLES: [&str; 3] = ["aws_", "azure_", "google_"];

/// See [`ObjectStore`].
pub(crate) struct ObjectSink {
    store: Arc<dyn Store>,
    folder: Path,
}

// === impl ObjectSink ===

impl ObjectSink {
    pub(super) fn new(settings: &ObjectStore) -> Result<Self, String> {
        let url = Url::parse(&settings.url).map_err(|error| format!("`url` is no address: {error}"))?;
        let unusable = |error: object_store::Error| format!("`url` can't be used: {error}");
        if url.scheme() == "file" {
            let path = url.to_file_path().map_err(|()| "`url` names no folder of this machine".to_owned())?;
            let folder = Path::from_absolute_path(path).map_err(|error| unusable(error.into()))?;
            // A file is there as a whole, and on the disk, when it has been put.
            let store = Arc::new(LocalFileSystem::new().with_fsync(true));
            return Ok(Self { store, folder });
        }
        let variables = std::env::vars()
            .map(|(name, value)| (name.to_lowercase(), value))
            .filter(|(name, _)| VARIABLES.iter().any(|prefix| name.starts_with(prefix)));
        let options = variables.chain(settings.options.clone());
        let (store, folder) = object_store::parse_url_opts(&url, options).map_err(unusable)?;
        Ok(Self { store: store.into(), folder })
    }
}

/// The files of a batch: its records by the day of their time, UTC. A name says the places of the batch and what is in the
/// file: the same again is the same file, and another can never take its place.
fn files(batch: &Batch<'_>) -> Result<Vec<(String, Vec<u8>)>, Undelivered> {
    let mut days: BTreeMap<String, Vec<&Row<'_>>> = BTreeMap::new();
    for (_, row) in &batch.records {
        let time = Timestamp::from_microsecond(row.time_us()).unwrap_or(Timestamp::UNIX_EPOCH);
        days.entry(time.strftime("%Y-%m-%d").to_string()).or_default().push(row);
    }
    let mut files = Vec::with_capacity(days.len());
    for (day, rows) in days {
        let bytes = parquet(&rows).map_err(|error| Undelivered::new(error.to_string()))?;
        let digest = Digest::of(&bytes).to_string();
        let digest = digest.get(..16).unwrap_or(&digest);
        files.push((format!("date={day}/{}-{digest}.parquet", batch.name()), bytes));
    }
    Ok(files)
}

fn parquet(rows: &[&Row<'_>]) -> Result<Vec<u8>, kt_audit::columns::parquet::WriteError> {
    let mut writer = Writer::new(Vec::new())?;
    for rows in rows.chunks(GROUP) {
        writer.group(rows)?;
    }
    writer.finish()
}

// === impl Sink ===

impl Sink for ObjectSink {
    fn deliver<'a>(&'a self, batch: &'a Batch<'a>) -> BoxFuture<'a, Result<(), Undelivered>> {
        async move {
            // Some 100 MB/s a core: nothing else should wait for it.
            let files = tokio::task::block_in_place(|| files(batch))?;
            for (name, bytes) in files {
                let path = name.split('/').fold(self.folder.clone(), Path::join);
                self.store
                    .put(&path, bytes.into())
                    .await
                    .map_err(|error| Undelivered::new(format!("`{name}` can't be written: {error}")))?;
            }
            Ok(())
        }
        .boxed()
    }
}
