//! From source bytes to a pack that this gateway can serve: checked, compiled and bound by kt-policy, with what only the
//! data plane knows (where secret files are) filled in.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use kt_policy::{
    bind::bind, compiled::CompiledPack, diag::Diagnostic, lint::LintOptions, models::ModelTable,
    pack::providers::SecretKeyRef,
};

use crate::{secrets::SecretSource, settings::BindOptions, watch_file};

/// A model table is a few dozen lines; this only keeps a wrong file from being read into memory.
const MAX_TABLE_BYTES: u64 = 4 * 1024 * 1024;

/// The bundles of whole systems have some 200 KiB.
const MAX_CERTIFICATE_BYTES: u64 = 4 * 1024 * 1024;

/// A pack that can be served.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) pack: CompiledPack,
    /// In the order of the pack's targets.
    pub(crate) targets: Vec<BoundTarget>,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// A target's address and where its credential is.
#[derive(Debug)]
pub(crate) struct BoundTarget {
    pub(crate) base_url: String,
    pub(crate) secret: Option<SecretSource>,
    pub(crate) is_overridden: bool,
}

/// Why a pack can't be served here.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Every finding, warnings included; one of them is an error.
    Findings(Vec<Diagnostic>),
    /// The pack says that it is not to be served.
    Disabled {
        /// `name@version`.
        pack: String,
    },
}

/// Checks and binds a pack.
///
/// # Errors
/// [`Refused`], with everything that stands against the pack.
pub(crate) fn load(bytes: &[u8], options: &BindOptions, models: &ModelTable) -> Result<Loaded, Refused> {
    let checked = kt_policy::check(bytes, &LintOptions { now: Timestamp::now(), models });
    let Some(pack) = checked.pack else { return Err(Refused::Findings(checked.findings)) };
    if !pack.enabled {
        return Err(Refused::Disabled { pack: pack.id.to_string() });
    }
    // Binding knows paths only; the source says where they are.
    let placed = |mut findings: Vec<Diagnostic>| {
        for finding in &mut findings {
            finding.span = finding
                .span
                .or_else(|| checked.parsed.as_ref().and_then(|parsed| parsed.source_map.span(&finding.path)));
        }
        Refused::Findings(findings)
    };
    let binding = bind(&pack, &options.into(), &|name: &str| std::env::var(name).ok()).map_err(placed)?;
    let targets = binding
        .targets
        .into_iter()
        .map(|target| BoundTarget {
            base_url: target.base_url,
            secret: target.secret.map(|secret| match secret {
                SecretKeyRef::Env(name) => SecretSource::Env(name),
                // Binding refuses files without a folder for them.
                SecretKeyRef::File(name) => {
                    SecretSource::File(options.secrets_dir.clone().unwrap_or_default().join(name))
                }
            }),
            is_overridden: target.is_overridden,
        })
        .collect();
    let mut warnings = checked.findings;
    // Lint can't know what each gateway fills in; this one just did.
    warnings.retain(|warning| warning.code != kt_policy::codes::PLACEHOLDER);
    warnings.extend(binding.warnings);
    Ok(Loaded { pack, targets, warnings })
}

/// Reads the model table: the operator's, or the one that comes with the program.
///
/// # Errors
/// The file, and what is wrong with it.
pub(crate) fn models(path: Option<&Path>) -> Result<ModelTable, (PathBuf, String)> {
    let Some(path) = path else { return Ok(ModelTable::built_in().clone()) };
    let failed = |reason: String| (path.to_owned(), reason);
    let bytes = watch_file::read(path, MAX_TABLE_BYTES).map_err(|error| failed(error.to_string()))?;
    let (table, findings) = ModelTable::parse(&bytes);
    table.ok_or_else(|| {
        let told: Vec<String> = findings
            .iter()
            .map(|finding| format!("{} {}: {}", finding.code, finding.path, finding.message))
            .collect();
        failed(told.join("; "))
    })
}

/// Reads certificates that are trusted beside the system's.
///
/// # Errors
/// The file, and what is wrong with it. One without a certificate is wrong: whoever names it expects it to count.
pub(crate) fn certificates(path: Option<&Path>) -> Result<Vec<reqwest::Certificate>, (PathBuf, String)> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let failed = |reason: String| (path.to_owned(), reason);
    let bytes = watch_file::read(path, MAX_CERTIFICATE_BYTES).map_err(|error| failed(error.to_string()))?;
    let no_pem = || failed("it is no PEM file of certificates".to_owned());
    let certificates = reqwest::Certificate::from_pem_bundle(&bytes).map_err(|_| no_pem())?;
    if certificates.is_empty() {
        return Err(no_pem());
    }
    // What stands inside of each is looked at by the TLS library alone.
    let trusting = reqwest::Client::builder().tls_certs_only(certificates.iter().cloned()).build();
    trusting.map_err(|_| failed("one of its certificates is malformed".to_owned()))?;
    Ok(certificates)
}

/// The version of the table that prices come from.
pub(crate) fn table_version(models: &ModelTable) -> String {
    models.version().to_owned()
}

/// What callers of a model should know.
pub(crate) fn notice(models: &ModelTable, model: &str) -> Option<String> {
    let known = models.lookup(model).filter(|known| known.retired)?;
    let since = known.retired_on.map(|day| format!(" since {day}")).unwrap_or_default();
    let instead = known.successor.as_ref().map(|successor| format!("; use {successor}")).unwrap_or_default();
    Some(format!("{model} is retired{since}{instead}"))
}
