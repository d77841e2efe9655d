//! From hits to findings as records have them: field, code points, rule; never the text.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Finding, MAX_FINDINGS, Phase,
    content::Found,
    offsets::{CodePoints, Mapper},
    texts::{Source, Texts},
};
use crate::{
    compiled::{ChainEntry, CompiledPolicy},
    detect::Rule,
    json::{Kind, NodeId},
    request::{Inspected, Place},
};

/// The rule behind a hit.
pub(super) fn rule(chain: &[ChainEntry], policy: usize, rule: u32) -> Option<&Rule> {
    match chain.get(policy).map(|entry| &entry.policy) {
        Some(CompiledPolicy::Content(detector)) => detector.rules().get(rule as usize),
        _ => None,
    }
}

/// A hit in offsets of its field. The order is that of records.
#[derive(Debug, Clone, Copy)]
pub(super) struct InField {
    pub(super) found: Found,
    pub(super) field: u32,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Every hit in offsets of its field, in the order of policy, field and offset; what was found twice (in a whole text
/// and in a leaf of it) once, with the higher score.
pub(super) fn in_fields(source: Source<'_>, texts: &Texts, found: &[Found]) -> Vec<InField> {
    let mut mapper = Mapper::new(texts, source);
    let mut all: Vec<InField> = found
        .iter()
        .filter_map(|found| {
            let field = texts.entry(found.entry)?.field;
            let range = mapper.field(found.entry, found.start..found.end);
            Some(InField { found: *found, field, start: range.start, end: range.end })
        })
        .collect();
    let key = |hit: &InField| (hit.found.policy, hit.field, hit.start, hit.end, hit.found.rule);
    all.sort_by(|a, b| key(a).cmp(&key(b)).then(b.found.score.total_cmp(&a.found.score)));
    all.dedup_by_key(|hit| key(hit));
    all
}

/// The findings of a request, and how many are not listed.
pub(super) fn findings(
    chain: &[ChainEntry],
    body: Inspected<'_>,
    phase: Phase,
    texts: &Texts,
    found: &[Found],
) -> (Vec<Finding>, usize) {
    if found.is_empty() {
        return (Vec::new(), 0);
    }
    let source = Source::Body(body);
    let hits = in_fields(source, texts, found);
    let mut places = Places::new(body, hits.iter().map(|hit| hit.field));
    let mut points: Option<(u32, CodePoints<'_>)> = None;
    let mut findings = Vec::with_capacity(hits.len().min(MAX_FINDINGS));
    for hit in hits.iter().take(MAX_FINDINGS) {
        let Some(rule) = rule(chain, hit.found.policy, hit.found.rule) else { continue };
        let Some(entry) = chain.get(hit.found.policy) else { continue };
        let Some(place) = places.of(hit.field) else { continue };
        if points.as_ref().is_none_or(|(field, _)| *field != hit.field) {
            points = Some((hit.field, CodePoints::new(source.text(hit.field as usize))));
        }
        let before = |offset| points.as_ref().map_or(0, |(_, points)| points.before(offset));
        findings.push(Finding {
            policy: entry.kind,
            phase,
            rule: Arc::clone(&rule.id),
            entity: rule.entity.clone(),
            place,
            start: before(hit.start),
            end: before(hit.end),
            score: hit.found.score,
            verdict: hit.found.verdict,
            effect: hit.found.effect,
        });
    }
    (findings, hits.len().saturating_sub(MAX_FINDINGS))
}

/// The places of fields, made once each. Keys in which something was found are not spelled.
#[derive(Debug)]
pub(super) struct Places<'r> {
    body: Inspected<'r>,
    secret_keys: BTreeSet<NodeId>,
    made: BTreeMap<u32, Place>,
}

impl<'r> Places<'r> {
    pub(super) fn new(body: Inspected<'r>, found_in: impl Iterator<Item = u32>) -> Self {
        let secret_keys = found_in
            .filter_map(|field| Source::Body(body).node(field as usize))
            .filter(|node| body.document.kind(*node) == Kind::Key)
            .collect();
        Self { body, secret_keys, made: BTreeMap::new() }
    }

    pub(super) fn of(&mut self, field: u32) -> Option<Place> {
        if let Some(place) = self.made.get(&field) {
            return Some(place.clone());
        }
        let place = self.of_node(Source::Body(self.body).node(field as usize)?);
        self.made.insert(field, place.clone());
        Some(place)
    }

    pub(super) fn of_node(&self, node: NodeId) -> Place {
        Place::of(self.body.document, node, |key| self.secret_keys.contains(&key))
    }
}
