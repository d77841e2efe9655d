//! Whether a pack may be stored: the same compiler and the same findings as `kt policy lint`.

use bytes::Bytes;
use kt_audit::Digest;
use kt_policy::{
    diag::{Diagnostic, LineIndex},
    features,
    lint::LintOptions,
    models::ModelTable,
};
use kt_proto::{
    refusal::{Code, Refusal},
    v1,
};

use crate::{bodies::MAX_SOURCE_BYTES, registry::errors::refused};

/// A pack with everything that is to be said of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Admission {
    /// Which version of which pack; absent when a finding is an error.
    pub(crate) pack: Option<v1::PackRef>,
    /// What it asks of gateways.
    pub(crate) features: Vec<v1::Feature>,
    /// In the order of the source.
    pub(crate) findings: Vec<v1::Finding>,
}

/// Judges a source. Compiling takes time, so this runs aside.
///
/// # Errors
/// `pack_too_large`; or `busy`, when the work could not be done.
pub(crate) async fn check(source: Bytes) -> Result<Admission, Refusal> {
    if source.len() > MAX_SOURCE_BYTES {
        let message = format!("the pack has {} bytes; a pack may have {MAX_SOURCE_BYTES}", source.len());
        return Err(refused(Code::PackTooLarge, message));
    }
    let judging = tokio::task::spawn_blocking(move || judge(&source));
    judging.await.map_err(|_| {
        // A panic of the compiler is a fault of ours; it must not take the server along.
        tracing::error!("Pack could not be judged.");
        refused(Code::Busy, "the pack could not be judged: see the log of the control plane")
    })
}

fn judge(source: &[u8]) -> Admission {
    let options = LintOptions { now: jiff::Timestamp::now(), models: ModelTable::built_in() };
    let checked = kt_policy::check(source, &options);
    let lines = LineIndex::new(source);
    let findings = checked.findings.iter().map(|found| finding(found, &lines)).collect();
    let pack = checked.pack.as_ref().map(|pack| v1::PackRef {
        name: pack.id.name.to_string(),
        version: pack.id.version.to_string(),
        digest: Digest::of(source).0.to_vec(),
        size: source.len() as u64,
    });
    let features = match (&pack, &checked.parsed) {
        (Some(_), Some(parsed)) => features::used(parsed),
        _ => Vec::new(),
    };
    let features = features
        .into_iter()
        .map(|feature| v1::Feature {
            name: feature.name,
            path: feature.path,
            line: feature.span.map_or(0, |span| number(lines.position(span.start).line)),
        })
        .collect();
    Admission { pack, features, findings }
}

fn finding(found: &Diagnostic, lines: &LineIndex<'_>) -> v1::Finding {
    let position = found.span.map(|span| lines.position(span.start));
    v1::Finding {
        code: found.code.to_string(),
        is_error: found.is_error(),
        message: found.message.clone(),
        path: found.path.clone(),
        start: found.span.map(|span| span.start as u64),
        end: found.span.map(|span| span.end as u64),
        line: position.map_or(0, |position| number(position.line)),
        column: position.map_or(0, |position| number(position.column)),
        help: found.help.clone(),
    }
}

fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = b"pack: {name: demo, version: 1.0.0}\npolicies: {chain: [audit-logger]}\n";

    #[tokio::test]
    async fn a_valid_pack_is_named_with_its_digest_and_features() {
        let admission = check(Bytes::from_static(GOOD)).await.unwrap();
        let pack = admission.pack.unwrap();
        assert_eq!((pack.to_string().as_str(), pack.size), ("demo@1.0.0", GOOD.len() as u64));
        assert_eq!(pack.digest, Digest::of(GOOD).0);
        let logger = admission.features.iter().find(|feature| feature.name == "policy:audit-logger").unwrap();
        assert_eq!((logger.path.as_str(), logger.line), ("policies.chain[0]", 2));
    }

    #[tokio::test]
    async fn the_findings_are_those_of_lint_with_their_places() {
        let source = b"pack: {name: demo, version: 1.0.0}\npolicies:\n  chain: [dlp-filtre]\n";
        let admission = check(Bytes::from_static(source)).await.unwrap();
        assert_eq!(admission.pack, None);
        let error = admission.findings.iter().find(|finding| finding.is_error).unwrap();
        assert_eq!((error.line, error.column, error.path.as_str()), (3, 11, "policies.chain[0]"));
        assert!(error.help.as_ref().unwrap().contains("dlp-filter"), "{error:?}");
        let options = LintOptions { now: jiff::Timestamp::now(), models: ModelTable::built_in() };
        let lint = kt_policy::check(source, &options).findings;
        let codes = |findings: &[v1::Finding]| findings.iter().map(|f| f.code.clone()).collect::<Vec<_>>();
        assert_eq!(codes(&admission.findings), lint.iter().map(|f| f.code.to_string()).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_source_over_the_limit_has_its_own_code() {
        let source = vec![b' '; MAX_SOURCE_BYTES + 1];
        assert_eq!(check(source.into()).await.unwrap_err().code, Code::PackTooLarge);
    }
}
