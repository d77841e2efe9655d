//! Single values with a form of their own: names, versions, moments, media types.

use jiff::{Timestamp, civil::Date};

use super::unknown_kind;
use crate::{
    codes,
    decode::{Cx, Path, described, shown, text},
    diag::Span,
    verdict::PolicyKind,
    yaml::{Node, Value},
};

/// The form of a name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NameForm {
    /// What it must be, as a message says it.
    form: &'static str,
    most: usize,
    valid: fn(char) -> bool,
}

/// A name that goes into headers, file names and metrics.
pub(crate) const IDENTIFIER: NameForm = NameForm {
    form: "letters, digits, `-`, `_` and `.`",
    most: 128,
    valid: |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'),
};

/// An endpoint name, as Databricks has them: dotted names of Unity Catalog included.
pub(crate) const MODEL_NAME: NameForm = NameForm {
    form: "letters, digits, `-`, `_`, `.`, `:`, `/` and `@`",
    most: 256,
    valid: |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/' | '@'),
};

/// A name that people choose: a role, a team, a pattern.
pub(crate) const LABEL: NameForm =
    NameForm { form: "one line without control characters", most: 128, valid: |c| !c.is_control() };

/// A name of a tool, or a pattern of one.
pub(crate) const TOOL: NameForm =
    NameForm { form: "one line without spaces", most: 128, valid: |c| !c.is_control() && !c.is_whitespace() };

/// Checks a name against its form; the message says what is wrong.
pub(crate) fn checked_name(written: &str, form: NameForm) -> Result<String, String> {
    let length = written.chars().count();
    if written.trim().is_empty() {
        return Err("the name is empty".to_owned());
    }
    if length > form.most {
        return Err(format!("`{}` has {length} characters, more than {}", shown(written), form.most));
    }
    if written.trim() != written {
        return Err(format!("`{}` begins or ends with a space", shown(written)));
    }
    match written.chars().find(|c| !(form.valid)(*c)) {
        Some(_) => Err(format!("`{}` has other characters than {}", shown(written), form.form)),
        None => Ok(written.to_owned()),
    }
}

/// A name as a value.
pub(crate) fn name(form: NameForm) -> impl Fn(&Node, &Path<'_>, &mut Cx) -> Option<String> + Copy {
    move |node, path, cx| {
        let written = text(node, path, cx)?;
        match checked_name(&written, form) {
            Ok(name) => Some(name),
            Err(message) => {
                cx.error(codes::BAD_FORMAT, path, node.span, message);
                None
            }
        }
    }
}

/// A name as a key.
pub(super) fn key(form: NameForm) -> impl Fn(&str, Span, &Path<'_>, &mut Cx) -> Option<String> {
    move |written, span, path, cx| match checked_name(written, form) {
        Ok(name) => Some(name),
        Err(message) => {
            cx.error(codes::BAD_FORMAT, path, span, message);
            None
        }
    }
}

/// A text that says something.
pub(super) fn sentence(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<String> {
    let written = text(node, path, cx)?;
    if written.trim().is_empty() {
        cx.error(codes::BAD_FORMAT, path, node.span, "the text is empty".to_owned());
        return None;
    }
    Some(written)
}

/// A semantic version.
pub(super) fn version(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<semver::Version> {
    let help = "three numbers, as `1.0.0`";
    let Value::Text(written) = &node.value else {
        let message = format!("expected a semantic version, found {}", described(node));
        cx.error_help(codes::WRONG_TYPE, path, node.span, message, help);
        return None;
    };
    match semver::Version::parse(written) {
        Ok(version) if written.len() <= 128 => Some(version),
        _ => {
            let message = format!("`{}` is not a semantic version", shown(written));
            let help = match written.strip_prefix('v').map(semver::Version::parse) {
                Some(Ok(version)) => format!("write `{version}`, without the `v`"),
                _ => help.to_owned(),
            };
            cx.error_help(codes::BAD_FORMAT, path, node.span, message, help);
            None
        }
    }
}

/// A moment: RFC 3339, or a day, which stands for its first moment in UTC.
pub(super) fn moment(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<Timestamp> {
    let written = text(node, path, cx)?;
    let is_day = written.len() == 10 && written.parse::<Date>().is_ok();
    let moment =
        if is_day { format!("{written}T00:00:00Z").parse().ok() } else { written.parse::<Timestamp>().ok() };
    if moment.is_none() {
        let message = format!("`{}` is not a day or a moment", shown(&written));
        let help = "write `2027-01-31`, or `2027-01-31T12:00:00Z`";
        cx.error_help(codes::BAD_FORMAT, path, node.span, message, help);
    }
    moment
}

/// `*`, `image/*` or `image/png`, in lower case.
pub(super) fn media_type(written: &str, span: Span, path: &Path<'_>, cx: &mut Cx) -> Option<String> {
    let token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.'))
    };
    let valid = written == "*"
        || written.split_once('/').is_some_and(|(kind, sub)| token(kind) && (sub == "*" || token(sub)));
    if valid {
        return Some(written.to_owned());
    }
    let message = format!("`{}` is not a media type", shown(written));
    cx.error_help(codes::BAD_FORMAT, path, span, message, "write `image/png`, `image/*` or `*`");
    None
}

/// `<policy>` or `<policy>/<rule>`.
pub(super) fn exception_rule(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<String> {
    let written = text(node, path, cx)?;
    let (kind, rule) =
        written.split_once('/').map_or((written.as_str(), None), |(kind, rule)| (kind, Some(rule)));
    if !PolicyKind::ALL.into_iter().any(|known| known.as_str() == kind) {
        unknown_kind(kind, node.span, path, cx);
        return None;
    }
    if rule.is_some_and(|rule| rule.trim().is_empty()) {
        let message = format!("`{}` does not name a rule", shown(&written));
        let help = "write `<policy>/<rule>` as records name it, or `<policy>` for all of them";
        cx.error_help(codes::BAD_FORMAT, path, node.span, message, help);
        return None;
    }
    Some(written)
}
