//! Policy packs: parse, lint, compile, bind and evaluate.
//!
//! Everything here is a pure function of its arguments: no I/O, no async, no clock but the one that is passed in.
//! That is what makes lint, test, scan, diff by effect, shadow and replay cheap, and a pack valid everywhere or
//! nowhere.
//!
//! The stages, in order:
//! - [`yaml`] turns source bytes into a tree with spans; nothing else knows the YAML library;
//! - [`pack`] is the model that the tree is decoded into, with every finding at once ([`diag`]);
//! - `lint` judges a decoded pack; `compile` turns it into an immutable `CompiledPack`;
//! - `bind` fills what only one gateway knows (workspace, secrets, allowed upstreams);
//! - `json` and `request` read a request once, `detect` finds things in its texts, `evaluate` decides.

mod answer;
pub mod bind;
pub mod caller;
pub mod codes;
pub mod compile;
pub mod compiled;
mod decode;
pub mod detect;
pub mod diag;
pub mod edit;
pub mod evaluate;
pub mod features;
pub mod json;
pub mod lint;
pub mod models;
pub mod pack;
pub mod request;
pub mod schema;
pub mod text;
pub mod usage;
pub mod verdict;
pub mod yaml;

use compiled::CompiledPack;
use diag::Diagnostic;
use lint::LintOptions;
use pack::ParsedPack;

/// A pack with everything that is to be said of it.
#[derive(Debug)]
pub struct Checked {
    /// There exactly when no finding is an error.
    pub pack: Option<CompiledPack>,
    /// The model that was read; there whenever the source could be read as a pack.
    pub parsed: Option<ParsedPack>,
    /// Every finding of reading, lint and compiling, in the order of the source.
    pub findings: Vec<Diagnostic>,
}

/// Reads, lints and compiles a pack: the one way in for `kt policy lint`, publishing and activation.
pub fn check(source: &[u8], options: &LintOptions<'_>) -> Checked {
    let (partial, mut findings) = pack::read::read(source);
    let Some(partial) = partial else { return Checked { pack: None, parsed: None, findings } };
    let (compiled, problems) = compile::compile(&partial.parsed);
    let mut later = no_echo(&findings, problems);
    later.extend(lint::lint(&partial.parsed, compiled.as_ref(), options));
    later.retain(|finding| !partial.lost.iter().any(|lost| is_hearsay(finding, lost)));
    findings.extend(later);
    diag::sort(&mut findings);
    let is_valid = !findings.iter().any(Diagnostic::is_error);
    Checked { pack: compiled.filter(|_| is_valid), parsed: Some(partial.parsed), findings }
}

/// Leaves out what a detector says of a list in which the reader found the same thing twice already.
fn no_echo(found: &[Diagnostic], problems: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let list = |path: &str| path.rsplit_once('[').map(|(list, _)| list.to_owned());
    let said: Vec<_> = found
        .iter()
        .filter(|finding| finding.code == codes::DUPLICATE_NAME)
        .map(|finding| list(&finding.path))
        .collect();
    let is_echo =
        |problem: &Diagnostic| problem.code == codes::DUPLICATE_NAME && said.contains(&list(&problem.path));
    problems.into_iter().filter(|problem| !is_echo(problem)).collect()
}

/// Whether a finding of a later stage rests on a part of the pack that could not be read: a place in a list that lost
/// an item is not that of the source, and what a broken section does not name may be named there.
fn is_hearsay(finding: &Diagnostic, lost: &str) -> bool {
    let below = |section: &str| {
        lost == section || section.strip_prefix(lost).is_some_and(|rest| rest.starts_with('.'))
    };
    let rests_on = match finding.code {
        codes::MODEL_NOT_SERVED
        | codes::ALIAS_NOT_SERVED
        | codes::FALLBACK_UNKNOWN_TARGET
        | codes::FALLBACK_OTHER_KIND
        | codes::NO_TARGETS => "providers.targets",
        codes::BLOCK_OUTSIDE_CHAIN | codes::NO_AUDIT | codes::EMPTY_CHAIN => "policies.chain",
        codes::DEFAULT_ROLE_UNKNOWN | codes::NO_ROLES => "policy.rbac.roles",
        codes::NO_CREDENTIAL => return lost.strip_prefix(&finding.path) == Some(".secret_key_ref"),
        codes::ROLE_WITHOUT_MODELS => return lost.strip_prefix(&finding.path) == Some(".allowed_models"),
        _ => return finding.path.strip_prefix(lost).is_some_and(|rest| rest.starts_with(['[', '.'])),
    };
    below(rests_on) || finding.path.strip_prefix(lost).is_some_and(|rest| rest.starts_with(['[', '.']))
}
