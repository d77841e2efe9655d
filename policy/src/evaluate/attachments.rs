//! Images, audio and files: what the pack allows, by media type.

use std::collections::BTreeMap;

use super::{Refusal, RefusalKind};
use crate::{
    pack::AttachmentRule,
    request::{Attachment, Request},
};

/// What is not inspected: media type → how many.
pub(super) fn counts(request: &Request<'_>) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for attachment in request.attachments() {
        *counts.entry(attachment.media_type.clone().into_owned()).or_insert(0) += 1;
    }
    counts
}

/// Refuses the first attachment that the pack blocks.
pub(super) fn check(rules: &BTreeMap<String, AttachmentRule>, request: &Request<'_>) -> Result<(), Refusal> {
    let blocked = |attachment: &&Attachment<'_>| rule(rules, &attachment.media_type) == AttachmentRule::Block;
    let Some(attachment) = request.attachments().iter().find(blocked) else { return Ok(()) };
    let param = request.place(attachment.node, |_| false).param.to_string();
    let message = format!("attachments of type `{}` are not allowed: `{param}`", attachment.media_type);
    Err(Refusal::new(RefusalKind::PolicyViolation, "attachment_blocked", message).at(param))
}

/// The most specific rule: the type itself, `image/*`, `*`. Where only the kind of an attachment is known (an image
/// somewhere else), a block of any type of that kind holds: what it is cannot be told.
fn rule(rules: &BTreeMap<String, AttachmentRule>, media_type: &str) -> AttachmentRule {
    let find = |pattern: &str| {
        rules.iter().find(|(name, _)| name.eq_ignore_ascii_case(pattern)).map(|(_, rule)| *rule)
    };
    let kind = media_type.split('/').next().unwrap_or_default();
    if media_type.ends_with("/*") {
        let within = |name: &str| {
            kind == "*" || name.split('/').next().is_some_and(|own| own.eq_ignore_ascii_case(kind))
        };
        if rules.iter().any(|(name, rule)| *rule == AttachmentRule::Block && within(name)) {
            return AttachmentRule::Block;
        }
    }
    find(media_type)
        .or_else(|| find(&format!("{kind}/*")))
        .or_else(|| find("*/*"))
        .or_else(|| find("*"))
        .unwrap_or(AttachmentRule::Allow)
}
