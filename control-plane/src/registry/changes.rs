//! The history of changes: who changed what, when and why.

use kt_proto::{
    refusal::{Code, Refusal},
    v1,
};

use super::{
    Registry,
    errors::{refused, store_refused},
};
use crate::{
    paths,
    store::{Commit, StoreError, Write},
};

/// Changes in one page.
const PAGE: usize = 100;
const MAX_PAGE: usize = 1000;
/// Changes that are kept.
pub(crate) const KEPT: usize = 10_000;
/// Deletes in one commit.
const AT_ONCE: usize = 50;

impl Registry {
    /// A page of the changes, the newest first.
    pub(crate) async fn changes(
        &self,
        request: &v1::ListChangesRequest,
    ) -> Result<v1::ListChangesResponse, Refusal> {
        let limit = match request.limit {
            0 => PAGE,
            limit => usize::try_from(limit).unwrap_or(MAX_PAGE).min(MAX_PAGE),
        };
        let before = request.page_token.as_str();
        if !before.is_empty() && uuid::Uuid::try_parse(before).is_err() {
            let message = "the page token is none of ours: leave it empty for the first page";
            return Err(refused(Code::ArgumentInvalid, message));
        }
        let all = self.read_all::<v1::Change>(paths::CHANGES).await?;
        let newest_first = all.into_iter().rev().map(|stored| stored.record);
        let mut rest = newest_first.filter(|change| before.is_empty() || change.id.as_str() < before);
        let changes: Vec<_> = rest.by_ref().take(limit).collect();
        let next_page_token = match (rest.next(), changes.last()) {
            (Some(_), Some(last)) => last.id.clone(),
            _ => String::new(),
        };
        Ok(v1::ListChangesResponse { changes, next_page_token })
    }

    /// Deletes the oldest changes beyond what is kept; returns how many. Replicas may do this at the same time.
    pub(crate) async fn trim_changes(&self, kept: usize) -> Result<usize, StoreError> {
        let snapshot = self.store.load(paths::CHANGES).await?;
        let surplus = snapshot.entries.len().saturating_sub(kept);
        let keys: Vec<_> = snapshot.entries.into_iter().take(surplus).map(|entry| entry.key).collect();
        for keys in keys.chunks(AT_ONCE) {
            let writes = keys.iter().map(|key| Write::Delete(key.to_string())).collect();
            self.store.commit(Commit { preconditions: vec![], writes }).await?;
        }
        Ok(surplus)
    }

    /// Looks after what grows, for as long as it is polled.
    pub(crate) async fn tidy(&self) {
        loop {
            let hour = std::time::Duration::from_hours(1);
            tokio::time::sleep(crate::backoff::between(hour / 2, hour)).await;
            match self.trim_changes(KEPT).await {
                Ok(0) => {}
                Ok(trimmed) => tracing::info!(trimmed, "Old changes were deleted."),
                Err(error) => {
                    let refusal = store_refused(&error);
                    tracing::warn!(
                        error = &refusal as &dyn std::error::Error,
                        "Old changes can't be deleted."
                    );
                }
            }
        }
    }
}
