//! The ways in which a text is read: as it is, with rows of single letters joined and words taken apart, with
//! slips put right, as leetspeak, in rot13, from the end, and what encoded runs hold. Only what the text gives cause for is done.

use std::ops::Range;

use super::{
    engine::{self, Match},
    lexicon::{FOLDING, Finder, LEXICON, Lexicon, split},
    model::{self, MODEL, ViewFeatures},
    rules::{Family, HIDDEN_TEXT_ENTRY, MODEL_ENTRY},
    score::{self, Best, Window},
    spelling,
    tokens::{Tokens, View},
};
use crate::{
    detect::{Origin, Text, patterns::PatternScratch},
    pack::kinds::{InjectionEncoding, RuleSwitch},
    text::{
        canonical::{Canonical, Homoglyphs, Options},
        decode::{Decoder, Kinds},
    },
};

/// Below this, a match is too weak for its disguise to tell anything.
const DISGUISE_FLOOR: f32 = 0.3;

/// What is left of the doubt about a match when somebody took the trouble to disguise it.
const DISGUISE_DOUBT: f32 = 0.55;

/// What an encoded run must say to count in the text around it.
const ENCODED_FLOOR: f32 = 0.2;

/// So many invisible characters inside words are a disguise.
const INVISIBLE_DISGUISE: usize = 3;

/// So much text in invisible characters is a message.
const HIDDEN_MESSAGE: usize = 8;
const HIDDEN_WEIGHT: f32 = 0.5;

/// Working memory of the detector.
#[derive(Debug, Default)]
pub struct Memory {
    canonical: Canonical,
    inner: Canonical,
    decoder: Decoder,
    tokens: Tokens,
    regrouped: Tokens,
    engine: engine::Memory,
    model: model::Memory,
    score: score::Memory,
    encoded: Vec<Encoded>,
    windows: Vec<Window>,
    patterns: PatternScratch,
    /// Ideas found in all views: a measure of the work done.
    work: usize,
    /// Why windows count, when it is wanted.
    grounds: Option<Vec<Ground>>,
    /// The features of each view, when they are wanted.
    features: Option<Vec<ViewFeatures>>,
}

/// A match, or a window of the model, in the bytes of the text.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    /// Index into the table of rules.
    pub rule: usize,
    pub span: Range<usize>,
    pub weight: f32,
    pub words: Vec<Range<usize>>,
}

/// So many words of a window are named.
const NAMED_WORDS: usize = 6;

/// What an encoded run says.
#[derive(Debug, Clone)]
struct Encoded {
    span: Range<usize>,
    best: Best,
}

impl Memory {
    /// The windows of the last text that count, in its own bytes.
    pub(super) fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// The canonical form of the last text, and memory for searching it.
    pub(super) fn for_patterns(&mut self) -> (&Canonical, &mut PatternScratch) {
        (&self.canonical, &mut self.patterns)
    }

    /// Keeps why windows count from now on, until it is taken.
    pub(super) fn keep_grounds(&mut self) {
        self.grounds = Some(Vec::new());
    }

    /// What was kept.
    pub(super) fn take_grounds(&mut self) -> Vec<Ground> {
        self.grounds.take().unwrap_or_default()
    }

    /// Keeps the features of what is read from now on, until they are taken.
    pub(super) fn keep_features(&mut self) {
        self.features = Some(Vec::new());
    }

    /// The features of all views that were read since.
    pub(super) fn take_features(&mut self) -> Vec<ViewFeatures> {
        self.features.take().unwrap_or_default()
    }

    /// How many ideas were found in all views of the last text.
    #[cfg(test)]
    pub(super) fn work(&self) -> usize {
        self.work
    }
}

/// How one pack wants texts to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader {
    options: Options,
    kinds: Kinds,
}

/// What holds for all views of one text.
struct Context<'a, S> {
    lexicon: &'a Lexicon,
    origin: Origin,
    threshold: f32,
    switch: S,
}

impl Reader {
    pub(super) fn new(encoding: &InjectionEncoding) -> Self {
        Self {
            options: Options {
                compatibility: encoding.normalize_unicode,
                invisible: encoding.normalize_unicode,
                homoglyphs: if encoding.detect_homoglyphs {
                    Homoglyphs::Everywhere
                } else {
                    Homoglyphs::Keep
                },
                ..FOLDING
            },
            kinds: Kinds {
                base64: encoding.decode_base64,
                percent: encoding.decode_percent,
                hex: encoding.decode_hex,
                escapes: encoding.normalize_unicode,
            },
        }
    }

    /// Reads a text in every way that it gives cause for. The windows that count are left in `memory`; gives the score.
    pub(super) fn read(
        &self,
        text: Text<'_>,
        threshold: f32,
        switch: impl Fn(usize) -> RuleSwitch,
        memory: &mut Memory,
    ) -> f32 {
        memory.windows.clear();
        memory.encoded.clear();
        memory.work = 0;
        let Some(lexicon) = LEXICON.as_ref() else { return 0.0 };
        let context = Context { lexicon, origin: text.origin, threshold, switch };
        self.read_encoded(text.text, &context, memory);

        let mut canonical = std::mem::take(&mut memory.canonical);
        canonical.fill(text.text, self.options);
        let best = read_views(&canonical, &context, true, memory);
        merge(&mut memory.windows);
        memory.canonical = canonical;
        best.score
    }

    /// What the encoded runs of `text` say, each for itself.
    fn read_encoded<S: Fn(usize) -> RuleSwitch>(
        &self,
        text: &str,
        context: &Context<'_, S>,
        memory: &mut Memory,
    ) {
        let mut decoder = std::mem::take(&mut memory.decoder);
        decoder.find(text, self.kinds);
        let mut canonical = std::mem::take(&mut memory.inner);
        for run in decoder.iter() {
            canonical.fill(run.text, self.options);
            let known = memory.grounds.as_ref().map_or(0, Vec::len);
            let best = read_views(&canonical, context, false, memory);
            // What a run says has no place of its own in the text: the run stands for it.
            for ground in memory.grounds.iter_mut().flatten().skip(known) {
                ground.span = run.start..run.end;
                ground.words.clear();
            }
            if best.score >= ENCODED_FLOOR {
                memory.encoded.push(Encoded { span: run.start..run.end, best });
            }
        }
        memory.inner = canonical;
        memory.decoder = decoder;
        memory.windows.clear();
    }
}

/// Reads a canonical text in every way; `outer`: it is the text itself, with encoded runs in it.
fn read_views<S: Fn(usize) -> RuleSwitch>(
    canonical: &Canonical,
    context: &Context<'_, S>,
    outer: bool,
    memory: &mut Memory,
) -> Best {
    let mut tokens = std::mem::take(&mut memory.tokens);
    let lexicon = context.lexicon;
    tokens.fill(canonical.text(), View::Plain);
    let cues = tokens.cues;
    let disguises = canonical.disguises();
    let invisible = disguises.inside_words >= INVISIBLE_DISGUISE || disguises.hidden >= HIDDEN_MESSAGE;
    let mut best = read_view(&tokens, &lexicon.plain, canonical, context, invisible, outer, memory);
    let (reversed, rot13) = (memory.engine.reversed_cues >= 2, memory.engine.rot13_cues >= 2);
    let spaced = cues.spaced_letters >= 4;
    if spaced || cues.long_words > 0 {
        let mut regrouped = std::mem::take(&mut memory.regrouped);
        if regrouped.regroup(&tokens, canonical.text(), |rest| split(&lexicon.words, rest)) {
            let disguised = cues.spaced_letters >= 8;
            let other = read_view(&regrouped, &lexicon.plain, canonical, context, disguised, false, memory);
            best = best.max(other);
        }
        memory.regrouped = regrouped;
    }
    let mut respelt = std::mem::take(&mut memory.regrouped);
    if respelt.respell(&tokens, spelling::meant) {
        let other = read_view(&respelt, &lexicon.plain, canonical, context, false, false, memory);
        best = best.max(other);
    }
    memory.regrouped = respelt;
    if cues.leet_words >= 2 || cues.spaced_letters >= 6 {
        tokens.fill(canonical.text(), View::Leet);
        let other = read_view(&tokens, &lexicon.leet, canonical, context, true, false, memory);
        best = best.max(other);
        if tokens.cues.spaced_letters >= 4 || tokens.cues.long_words > 0 {
            let mut regrouped = std::mem::take(&mut memory.regrouped);
            if regrouped.regroup(&tokens, canonical.text(), |rest| split(&lexicon.leet_words, rest)) {
                let other = read_view(&regrouped, &lexicon.leet, canonical, context, true, false, memory);
                best = best.max(other);
            }
            memory.regrouped = regrouped;
        }
    }
    for (wanted, view) in [(rot13, View::Rot13), (reversed, View::Reversed)] {
        if wanted {
            tokens.fill(canonical.text(), view);
            let other = read_view(&tokens, &lexicon.plain, canonical, context, true, false, memory);
            best = best.max(other);
        }
    }
    memory.tokens = tokens;
    best
}

fn read_view<S: Fn(usize) -> RuleSwitch>(
    tokens: &Tokens,
    finder: &Finder,
    canonical: &Canonical,
    context: &Context<'_, S>,
    disguised: bool,
    outer: bool,
    memory: &mut Memory,
) -> Best {
    engine::run(tokens, finder, &mut memory.engine);
    memory.work += memory.engine.ideas.len();
    if let Some(features) = &mut memory.features {
        features.push(model::features(tokens, &memory.engine.ideas, &memory.engine.matches));
    }
    let mut matches = std::mem::take(&mut memory.engine.matches);
    matches.retain(|found| (context.switch)(found.rule) != RuleSwitch::Off);
    add_suspicions(tokens, context, memory, &mut matches);
    for found in &mut matches {
        if disguised {
            found.weight = without_doubt(found.weight);
        }
        found.weight = by_origin(found.weight, context.origin);
    }
    if outer {
        add_hidden(tokens, canonical, context, &mut matches);
        add_encoded(tokens, canonical, &memory.encoded, &mut matches);
    }
    if let Some(mut grounds) = memory.grounds.take() {
        add_grounds(tokens, canonical, context, &matches, memory, &mut grounds);
        memory.grounds = Some(grounds);
    }
    let acts = |rule| (context.switch)(rule) == RuleSwitch::Enforce;
    let best = score::judge(tokens, &mut matches, acts, context.threshold, &mut memory.score);
    memory.engine.matches = matches;
    for window in &memory.score.windows {
        let span = canonical.origin(window.span.clone());
        if !span.is_empty() {
            memory.windows.push(Window { span, ..*window });
        }
    }
    best
}

/// What the model objects to.
fn add_suspicions<S: Fn(usize) -> RuleSwitch>(
    tokens: &Tokens,
    context: &Context<'_, S>,
    memory: &mut Memory,
    matches: &mut Vec<Match>,
) {
    let Some(model) = MODEL.as_ref().filter(|_| (context.switch)(MODEL_ENTRY) != RuleSwitch::Off) else {
        return;
    };
    let counts = |rule| (context.switch)(rule) == RuleSwitch::Enforce;
    model.judge(tokens, &memory.engine.ideas, matches, counts, context.threshold, &mut memory.model);
    matches.extend(memory.model.suspicions.iter().map(|window| Match {
        rule: MODEL_ENTRY,
        family: Family::Model,
        first: window.first,
        last: window.last,
        weight: window.score,
    }));
}

/// Every match of a rule, and the windows of the model that reach the threshold with their heaviest words.
fn add_grounds<S: Fn(usize) -> RuleSwitch>(
    tokens: &Tokens,
    canonical: &Canonical,
    context: &Context<'_, S>,
    matches: &[Match],
    memory: &Memory,
    grounds: &mut Vec<Ground>,
) {
    let counts = |rule| rule != MODEL_ENTRY && (context.switch)(rule) == RuleSwitch::Enforce;
    let weights = MODEL
        .as_ref()
        .map(|model| model.weigh(tokens, &memory.engine.ideas, matches, counts))
        .unwrap_or_default();
    let word = |at| origin(tokens, canonical, at);
    for found in matches {
        let model = found.rule == MODEL_ENTRY;
        if model && found.weight < context.threshold {
            continue;
        }
        let mut words = Vec::new();
        if model {
            let mut heavy: Vec<(usize, i64)> = (found.first..=found.last)
                .filter_map(|at| Some((at, *weights.get(at)?)))
                .filter(|&(_, weight)| weight > 0)
                .collect();
            heavy.sort_by_key(|&(at, weight)| (std::cmp::Reverse(weight), at));
            words.extend(heavy.into_iter().take(NAMED_WORDS).map(|(at, _)| word(at)));
        }
        let (head, tail) = (word(found.first), word(found.last));
        let span = head.start.min(tail.start)..head.end.max(tail.end);
        grounds.push(Ground { rule: found.rule, span, weight: found.weight, words });
    }
}

/// A message in invisible characters is suspicious whatever it says.
fn add_hidden<S: Fn(usize) -> RuleSwitch>(
    tokens: &Tokens,
    canonical: &Canonical,
    context: &Context<'_, S>,
    matches: &mut Vec<Match>,
) {
    let rule = HIDDEN_TEXT_ENTRY;
    if (context.switch)(rule) == RuleSwitch::Off {
        return;
    }
    for hidden in canonical.hidden().iter().filter(|hidden| hidden.len() >= HIDDEN_MESSAGE) {
        let first = tokens.list.partition_point(|token| (token.end as usize) <= hidden.start);
        let last = tokens.list.partition_point(|token| (token.start as usize) < hidden.end);
        if let Some(last) = last.checked_sub(1).filter(|&last| last >= first) {
            let weight = by_origin(HIDDEN_WEIGHT, context.origin);
            matches.push(Match { rule, family: Family::Hidden, first, last, weight });
        }
    }
}

/// What encoded runs say counts in the sentence that they stand in.
fn add_encoded(tokens: &Tokens, canonical: &Canonical, encoded: &[Encoded], matches: &mut Vec<Match>) {
    for run in encoded {
        let first = lowest(tokens.list.len(), |at| origin(tokens, canonical, at).end > run.span.start);
        let last = lowest(tokens.list.len(), |at| origin(tokens, canonical, at).start >= run.span.end);
        if let Some(last) = last.checked_sub(1).filter(|&last| last >= first) {
            for (rule, score) in
                [(run.best.rule, run.best.score), (run.best.enforced_rule, run.best.enforced)]
            {
                let weight = without_doubt(score);
                matches.push(Match { rule, family: Family::Encoded, first, last, weight });
            }
        }
    }
}

/// The bytes of the text that a word came from; none behind the last word.
fn origin(tokens: &Tokens, canonical: &Canonical, at: usize) -> Range<usize> {
    let word = tokens.list.get(at).map(|token| token.start as usize..token.end as usize);
    word.map(|word| canonical.origin(word)).unwrap_or_default()
}

/// The lowest number below `end` of which `holds` is true, by halving; `end` when there is none.
fn lowest(end: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, end);
    while low < high {
        let middle = low.midpoint(high);
        if holds(middle) { high = middle } else { low = middle + 1 }
    }
    low
}

fn without_doubt(weight: f32) -> f32 {
    if weight < DISGUISE_FLOOR { weight } else { 1.0 - (1.0 - weight) * DISGUISE_DOUBT }
}

/// Commands inside data are suspicious; whoever builds the application may give them.
fn by_origin(weight: f32, origin: Origin) -> f32 {
    match origin {
        // To the power of 11/8, by roots: they are the same on every machine.
        Origin::Data => {
            let doubt = 1.0 - weight;
            let fourth = doubt.sqrt().sqrt();
            1.0 - doubt * fourth * fourth.sqrt()
        }
        Origin::User | Origin::Other => weight,
        Origin::Assistant => weight * 0.6,
        Origin::Operator => weight * 0.45,
    }
}

/// Overlapping windows are one, named by the stronger.
fn merge(windows: &mut Vec<Window>) {
    windows.sort_by_key(|window| (window.span.start, window.span.end, window.rule));
    let mut kept = 0_usize;
    for at in 0..windows.len() {
        let Some(window) = windows.get(at).cloned() else { break };
        match kept.checked_sub(1).and_then(|last| windows.get_mut(last)) {
            Some(last) if window.span.start < last.span.end => {
                last.span.end = last.span.end.max(window.span.end);
                if window.score > last.score {
                    last.score = window.score;
                    last.rule = window.rule;
                }
            }
            _ => {
                if let Some(slot) = windows.get_mut(kept) {
                    *slot = window;
                }
                kept += 1;
            }
        }
    }
    windows.truncate(kept);
}
