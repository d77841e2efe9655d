//! Which targets a request may go to, before anything is forbidden.

use std::sync::Arc;

use super::{Candidate, Refusal, RefusalKind};
use crate::{
    compiled::{CompiledPack, Serves},
    request::Request,
    verdict::Endpoint,
};

/// Longer model names are not repeated in messages.
const LONGEST_NAME: usize = 128;

impl Serves {
    /// Whether a target can be asked on an endpoint.
    pub const fn answers(self, endpoint: Endpoint) -> bool {
        match self {
            Self::Any => true,
            Self::Chat => matches!(endpoint, Endpoint::ChatCompletions | Endpoint::Responses),
            Self::Completion => matches!(endpoint, Endpoint::Completions),
            Self::Embedding => matches!(endpoint, Endpoint::Embeddings),
            Self::Responses => matches!(endpoint, Endpoint::Responses),
        }
    }
}

/// The endpoint name that a requested name stands for.
pub(super) fn resolve<'p>(pack: &'p CompiledPack, requested: &'p str) -> &'p str {
    pack.aliases.get(requested).map_or(requested, |name| name)
}

/// The targets that serve the model on this endpoint, in the order of the pack, then the fallbacks of a fitting kind.
pub(super) fn candidates(
    pack: &CompiledPack,
    request: &Request<'_>,
) -> Result<(Arc<str>, Vec<Candidate>), Refusal> {
    let endpoint = request.endpoint();
    let model = resolve(pack, request.model());
    let mut resolved = None;
    let mut candidates = Vec::with_capacity(4);
    for (index, target) in pack.targets.iter().enumerate() {
        if *target.model == *model && target.serves.answers(endpoint) {
            resolved.get_or_insert_with(|| Arc::clone(&target.model));
            candidates.push(Candidate { target: index, fallback: false, excluded: None });
        }
    }
    let Some(resolved) = resolved else {
        return Err(not_found(pack, request));
    };
    for &index in pack.fallback.iter().flat_map(|fallback| &fallback.order) {
        let fits = pack.targets.get(index).is_some_and(|target| target.serves.answers(endpoint));
        if fits && !candidates.iter().any(|candidate| candidate.target == index) {
            candidates.push(Candidate { target: index, fallback: true, excluded: None });
        }
    }
    Ok((resolved, candidates))
}

fn not_found(pack: &CompiledPack, request: &Request<'_>) -> Refusal {
    let endpoint = request.endpoint();
    let mut models: Vec<&str> = pack
        .targets
        .iter()
        .filter(|target| target.serves.answers(endpoint))
        .map(|target| &*target.model)
        .collect();
    models.dedup();
    let known = if models.is_empty() {
        // Every target then, so that the caller sees what there is.
        let all: Vec<&str> = pack.targets.iter().map(|target| &*target.model).collect();
        format!("no target of this pack serves that; its targets are {}", listed(&all))
    } else {
        format!("the targets of this pack serve {}", listed(&models))
    };
    let message =
        format!("model {} is not served here on {}: {known}", name(request.model()), endpoint.as_str());
    Refusal::new(RefusalKind::NotFound, "model_not_found", message).at("model")
}

fn listed(models: &[&str]) -> String {
    models.iter().map(|model| format!("`{model}`")).collect::<Vec<_>>().join(", ")
}

/// A model as named by a client, when it looks like the name of a model.
pub(super) fn name(model: &str) -> String {
    let plain = model.len() <= LONGEST_NAME
        && model.bytes().all(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'/' | b'@')
        });
    if plain { format!("`{model}`") } else { "with the requested name".to_owned() }
}
