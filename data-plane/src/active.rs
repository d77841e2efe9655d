//! The pack in force, ready to serve: compiled, bound, with clients and credentials. Immutable; a request keeps the one
//! it began with.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use http::HeaderValue;
use jiff::Timestamp;
use kt_audit::{Digest, Label, record::Retention};
use kt_policy::{
    compiled::CompiledPack, models::ModelTable, pack::Durability, usage::Usage, verdict::Endpoint,
};
use reqwest::Url;

use crate::{secrets::Secret, upstream::client::Client};

/// The pack in force.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) pack: Arc<CompiledPack>,
    /// `name@version`.
    pub(crate) id: String,
    /// Its targets, in the order of the pack.
    pub(crate) targets: Vec<TargetRuntime>,
    pub(crate) models: Arc<ModelTable>,
    /// Version of the table that prices come from.
    pub(crate) price_table: String,
    /// Digests of the detectors in its chain, as records name them.
    pub(crate) detectors: BTreeMap<Label, Digest>,
    /// How it is recorded; absent when `audit-logger` is not in its chain.
    pub(crate) audit: Option<AuditPlan>,
    /// Since when it is in force.
    pub(crate) since: Timestamp,
}

/// How requests are recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AuditPlan {
    pub(crate) durability: Durability,
    pub(crate) log_all_access: bool,
    pub(crate) retention: Retention,
}

/// A target, ready to be asked.
pub(crate) struct TargetRuntime {
    pub(crate) id: Arc<str>,
    pub(crate) model: Arc<str>,
    pub(crate) client: Client,
    /// By endpoint, in the order of [`slot`].
    pub(crate) urls: [Url; 4],
    /// Absent when the pack names none.
    pub(crate) secret: Option<Arc<Secret>>,
    pub(crate) is_overridden: bool,
    pub(crate) first_byte_timeout: Duration,
    pub(crate) total_timeout: Duration,
    pub(crate) stream_idle_timeout: Duration,
    pub(crate) client_request_id: bool,
    pub(crate) include_usage: bool,
    /// The target was seen to refuse the request for usage.
    pub(crate) refuses_usage: AtomicBool,
    /// The target refuses the parameter that bounds its output: the model table says so, or it was seen to.
    pub(crate) refuses_token_bound: AtomicBool,
    /// What callers should know of the model (retired, say).
    pub(crate) notice: Option<String>,
}

impl fmt::Debug for TargetRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TargetRuntime")
            .field("id", &self.id)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

impl TargetRuntime {
    /// Where an endpoint is asked.
    pub(crate) const fn url(&self, endpoint: Endpoint) -> &Url {
        let [chat, completions, embeddings, responses] = &self.urls;
        match endpoint {
            Endpoint::ChatCompletions => chat,
            Endpoint::Completions => completions,
            Endpoint::Embeddings => embeddings,
            Endpoint::Responses => responses,
        }
    }

    /// Why it cannot be asked at all, when it cannot.
    pub(crate) fn unavailable(&self) -> Option<&'static str> {
        let secret = self.secret.as_ref()?;
        secret.bearer().is_none().then_some("its credential is missing")
    }

    /// The credential as a header.
    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        self.secret.as_ref()?.bearer()
    }
}

/// The four addresses below a base.
pub(crate) fn urls(base: &str) -> Result<[Url; 4], url_error::UrlError> {
    let base = base.trim_end_matches('/');
    let join = |path: &str| Url::parse(&format!("{base}/{path}")).map_err(|_| url_error::UrlError);
    Ok([join("chat/completions")?, join("completions")?, join("embeddings")?, join("responses")?])
}

pub(crate) mod url_error {
    /// An address that is none.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
    #[error("the base address is malformed")]
    pub(crate) struct UrlError;
}

impl Active {
    /// What a request cost, in millionths of a dollar; `None` when a price is unknown.
    pub(crate) fn micro_usd(&self, model: &str, usage: &Usage) -> Option<u64> {
        self.models.micro_usd(model, usage)
    }

    /// The successor of a retired model.
    pub(crate) fn successor(&self, model: &str) -> Option<&str> {
        self.models.successor(model)
    }
}
