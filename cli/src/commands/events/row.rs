//! A request as one line.

use kt_audit::{
    dir::Entry,
    record::{Body, Closed, name_of},
};

use super::time;

/// The columns.
pub(super) const HEADER: [&str; 9] =
    ["TIME", "ID", "ENDPOINT", "MODEL", "ROLES", "STATUS", "VERDICT", "TARGET", "WHY"];

/// A request as one line.
pub(super) struct Row([String; 9]);

impl Row {
    /// The line of a `closed` record.
    pub(super) fn of(entry: &Entry) -> Option<Self> {
        let Body::Closed(closed) = entry.record().ok()?.body else { return None };
        let request = &closed.request;
        let text = |value: Option<&str>| value.unwrap_or("-").to_owned();
        let roles: Vec<&str> = request.caller.roles.iter().map(kt_audit::Label::as_str).collect();
        Some(Self([
            time(entry.time_us),
            closed.id.to_string(),
            name_of(&request.endpoint),
            text(request.requested_model.as_ref().map(kt_audit::Label::as_str)),
            if roles.is_empty() { "-".to_owned() } else { roles.join(",") },
            closed.status.map_or_else(|| "-".to_owned(), |status| status.to_string()),
            name_of(&closed.verdict),
            text(closed.target.as_ref().map(|target| target.id.as_str())),
            why(&closed),
        ]))
    }

    /// Its cells.
    pub(super) fn cells(self) -> [String; 9] {
        self.0
    }

    /// Its cells in one line.
    pub(super) fn line(&self) -> String {
        self.0.join("  ")
    }
}

/// What decided, in a few words: never a text.
fn why(closed: &Closed) -> String {
    if let Some(refusal) = &closed.refusal {
        let by = [&refusal.policy, &refusal.rule].into_iter().flatten().map(kt_audit::Label::as_str);
        let by: Vec<&str> = by.filter(|name| *name != refusal.code.as_str()).collect();
        return if by.is_empty() {
            refusal.code.to_string()
        } else {
            format!("{} {}", refusal.code, by.join("/"))
        };
    }
    let mut entities: Vec<&str> = closed
        .findings
        .iter()
        .map(|finding| finding.entity.as_ref().unwrap_or(&finding.rule).as_str())
        .collect();
    entities.sort_unstable();
    entities.dedup();
    let skipped = closed.attempts.iter().find_map(|attempt| attempt.skipped.as_ref());
    match (entities.is_empty(), closed.attempts.len() > 1, skipped) {
        (false, _, _) => entities.join(","),
        (true, _, Some(skipped)) => format!("fallback skipped: {skipped}"),
        (true, true, None) => format!("{} attempts", closed.attempts.len()),
        (true, false, None) => String::new(),
    }
}
