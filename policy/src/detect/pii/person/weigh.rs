//! How likely a run of words is a name.

use super::{
    super::{found::Kind, view::View},
    lexicon::{
        self, CLOSING, COMMON, COPULA, FAMILY, GIVEN, HEAD, LINK, NAME, ORG, PARTICLE, PLACE, STOP, TITLE,
        TRIGGER, VERB,
    },
    words::{Gap, Shape, Word},
};

/// Most words in a name, particles included.
const MAX_WORDS: usize = 6;

/// A word and what surrounds it.
pub(super) struct Place<'a> {
    pub(super) view: &'a View<'a>,
    pub(super) words: &'a [Word],
    pub(super) at: usize,
    /// Other findings, by start.
    pub(super) taken: &'a [(usize, usize, Kind)],
    /// The piece around the word that asks for a name.
    pub(super) slot: Option<(usize, usize)>,
}

/// A name that begins `skip` words after the place.
pub(super) struct Name {
    pub(super) skip: usize,
    pub(super) count: usize,
    pub(super) score: f32,
}

/// The name at the place, when there is one.
pub(super) fn at(place: &Place<'_>, folded: &mut String) -> Option<Name> {
    let first = place.word(0)?;
    let lead = place.lead();
    let capital = matches!(first.shape, Shape::Capital | Shape::Upper | Shape::Initial);
    if !capital && place.slot.is_none() {
        return place.lower_case(lead);
    }
    let count = place.run();
    if count == 0 {
        return None;
    }
    let count = place.with_comma(count);
    let score = place.score(count, lead, folded);
    (score >= 0.5).then_some(Name { skip: 0, count, score: score.min(0.99) })
}

/// How clearly the words before lead to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lead {
    /// Against: a definite article, an organisation before.
    Against,
    None,
    /// A preposition.
    Weak,
    /// A word that leads to a person.
    Strong,
    /// A title, `my name is`.
    Certain,
}

impl<'a> Place<'a> {
    fn word(&self, ahead: usize) -> Option<&'a Word> {
        self.words.get(self.at + ahead)
    }

    fn back(&self, by: usize) -> Option<&'a Word> {
        self.words.get(self.at.checked_sub(by)?)
    }

    /// Whether a word may begin a name.
    fn begins(word: &Word) -> bool {
        match word.shape {
            Shape::Capital => !word.is(STOP | TITLE) || word.known() && !word.is(COMMON | STOP),
            Shape::Upper => word.known() && !word.is(STOP),
            Shape::Initial => true,
            Shape::Lower | Shape::Code => false,
        }
    }

    /// Whether `word` may go on a name that the place's word began and `before` went on.
    fn fits(&self, before: &Word, word: &Word) -> bool {
        let given = self.word(0).is_some_and(|first| first.is(GIVEN) && !first.is(STOP));
        match word.shape {
            Shape::Capital => {
                Self::begins(word)
                    || given && (word.known() || word.is(TITLE))
                    || before.is(PARTICLE) && before.shape == Shape::Lower
            }
            // Two words in capitals among others; a headline in capitals gives no more than what the lists know.
            Shape::Upper => {
                Self::begins(word)
                    || given
                        && before.shape == Shape::Upper
                        && word.end - word.start >= 3
                        && !word.is(STOP | TRIGGER | ORG)
                        && self.back(1).is_none_or(|w| w.shape != Shape::Upper)
            }
            Shape::Initial => true,
            Shape::Lower | Shape::Code => false,
        }
    }

    /// How many words from the place on may be one name.
    fn run(&self) -> usize {
        let Some(first) = self.word(0) else { return 0 };
        if let Some((_, end)) = self.slot {
            let whole =
                self.words.iter().skip(self.at).take_while(|word| word.end <= end).take(MAX_WORDS + 1);
            let whole: usize = whole.take_while(|word| word.shape != Shape::Code).count();
            let open = self.word(whole).is_none_or(|next| next.start >= end);
            if (1..=MAX_WORDS).contains(&whole) && open {
                return whole;
            }
        }
        let headed =
            self.back(1).is_some_and(|w| w.is(HEAD) && w.shape == Shape::Capital && first.gap == Gap::Space);
        if headed || !Self::begins(first) || (first.is(TITLE | TRIGGER) && !first.known()) {
            return 0;
        }
        let mut count = 1;
        let mut ahead = 1;
        while let Some(next) = self.word(ahead) {
            let joined = next.gap == Gap::Space
                || next.gap == Gap::Line
                    && !first.first
                    && count == 1
                    && first.known()
                    && next.shape == first.shape
                    && (next.known() || first.shape != Shape::Upper)
                    && self.goes_on(ahead);
            let after_initial = self.word(ahead - 1).is_some_and(|w| w.shape == Shape::Initial)
                && next.gap == Gap::Apart
                && self.word(ahead - 1).is_some_and(|w| w.end == next.start);
            if ahead >= MAX_WORDS || !(joined || after_initial) {
                break;
            }
            if next.is(PARTICLE) && next.shape == Shape::Lower {
                // Only when a name follows, perhaps after a second particle.
                let second = self.word(ahead + 1);
                let beyond =
                    if second.is_some_and(|w| w.is(PARTICLE) && w.shape == Shape::Lower) { 2 } else { 1 };
                let fits =
                    self.word(ahead + beyond).is_some_and(|w| w.gap == Gap::Space && self.fits(next, w));
                let alone = matches!(self.view.slice(next.start, next.end), "e" | "y" | "los" | "o");
                if !fits || alone {
                    break;
                }
                ahead += beyond;
                continue;
            }
            if !self.word(ahead - 1).is_some_and(|before| self.fits(before, next)) {
                break;
            }
            ahead += 1;
            count = ahead;
        }
        // An initial alone ends no name unless it stands before one.
        count
    }

    /// Whether the line goes on after the word `ahead` with words of prose, or with more of the name.
    fn goes_on(&self, ahead: usize) -> bool {
        self.word(ahead + 1).is_some_and(|next| {
            next.gap == Gap::Space
                || next.start <= self.word(ahead).map_or(0, |w| w.end) + 2 && next.gap != Gap::Line
        }) || self.word(ahead).is_some_and(|word| {
            self.taken_near(word.end, 4) || matches!(self.view.byte(word.end), b'.' | b',' | b'?' | b'"')
        })
    }

    /// `Family, Given` counts as one.
    fn with_comma(&self, count: usize) -> usize {
        if count > 3 || self.slot.is_some() {
            return count;
        }
        let (Some(last), Some(next)) = (self.word(count - 1), self.word(count)) else { return count };
        let family_only =
            (0..count).all(|n| self.word(n).is_some_and(|w| !w.is(GIVEN) || w.is(FAMILY) || w.is(PARTICLE)));
        let lead = self.lead();
        // An unknown word is a given name where a person is expected and a family name came before.
        let given = next.is(GIVEN)
            || next.flags == 0
                && last.is(FAMILY)
                && lead >= Lead::Strong
                && self.word(count + 1).is_none_or(|w| w.shape == Shape::Lower);
        if next.gap != Gap::Comma
            || !given
            || !Self::begins(next)
            || next.is(STOP)
            || !family_only
            || last.shape == Shape::Initial
            || last.shape != next.shape
        {
            return count;
        }
        // `Smith, Anna and Peter` is a list; `Contact Smith, Anna.` is a name.
        let inner =
            Place { view: self.view, words: self.words, at: self.at + count, taken: self.taken, slot: None };
        let more = inner.run().min(2);
        let after = inner.word(more);
        let list = after.is_some_and(|w| w.gap == Gap::Comma && w.is(GIVEN));
        if lead < Lead::Weak && !last.is(FAMILY) || list { count } else { count + more }
    }

    fn lead(&self) -> Lead {
        let Some(first) = self.word(0) else { return Lead::None };
        let Some(one) = self.back(1) else { return Lead::None };
        let near = match first.gap {
            Gap::Space | Gap::Sign | Gap::Comma => true,
            Gap::Line => one.is(TRIGGER | CLOSING) && self.view.slice(one.end, first.start).contains(','),
            Gap::Apart => {
                let between = self.view.slice(one.end, first.start);
                one.is(TITLE) && matches!(between, ". " | ".")
                    || matches!(between, " \"" | " '" | " (" | " **" | " `" | " @")
            }
        };
        if !near {
            return Lead::None;
        }
        let two = self.back(2).filter(|_| one.gap == Gap::Space || one.gap == Gap::Sign);
        let three = self.back(3).filter(|_| two.is_some_and(|w| w.gap == Gap::Space));
        if one.is(TITLE)
            && (one.shape != Shape::Lower || !one.is(LINK))
            && first.gap != Gap::Comma
            && first.gap != Gap::Line
        {
            return Lead::Certain;
        }
        if one.is(CLOSING) && first.gap == Gap::Line {
            return Lead::Certain;
        }
        if one.is(LINK) && first.gap == Gap::Sign {
            return Lead::Strong;
        }
        if one.is(COPULA)
            && two.is_some_and(|w| w.is(VERB) && matches!(self.view.slice(w.start, w.end), "who" | "Who"))
        {
            return Lead::Strong;
        }
        if one.is(COPULA) && (two.is_some_and(|w| w.is(NAME)) || three.is_some_and(|w| w.is(NAME))) {
            return Lead::Certain;
        }
        if one.is(NAME) && first.gap != Gap::Comma && !one.is(TRIGGER) {
            return Lead::Strong;
        }
        if one.is(TRIGGER) {
            return Lead::Strong;
        }
        if one.is(LINK) && first.gap == Gap::Space {
            if self.view.slice(one.start, one.end) == "the" {
                return Lead::Against;
            }
            if two.is_some_and(|w| w.is(TRIGGER | VERB) && w.is(TRIGGER))
                || two.is_some_and(|w| w.is(LINK)) && three.is_some_and(|w| w.is(TRIGGER))
            {
                return Lead::Strong;
            }
            return Lead::Weak;
        }
        if one.is(ORG) && one.shape == Shape::Capital {
            return Lead::Against;
        }
        Lead::None
    }

    /// Whether another finding begins within `reach` bytes after `end`.
    fn taken_near(&self, end: usize, reach: usize) -> bool {
        let from = self.taken.partition_point(|&(start, ..)| start < end);
        self.taken.get(from).is_some_and(|&(start, _, kind)| start <= end + reach && kind != Kind::Other)
    }

    /// Whether an e-mail address near holds the folded word in its local part.
    fn in_mail(&self, start: usize, end: usize, folded: &str) -> bool {
        const REACH: usize = 200;
        if folded.len() < 3 {
            return false;
        }
        let from = self.taken.partition_point(|&(s, ..)| s < end);
        let near = (from.saturating_sub(3)..from + 3).filter_map(|n| self.taken.get(n));
        near.filter(|&&(s, e, kind)| kind == Kind::Email && s < end + REACH && e + REACH > start).any(
            |&(s, e, _)| {
                let mail = self.view.slice(s, e);
                let local = mail.split('@').next().unwrap_or("");
                local.len() <= 64 && local.to_ascii_lowercase().contains(folded)
            },
        )
    }

    fn score(&self, count: usize, lead: Lead, folded: &mut String) -> f32 {
        let words = self.words.get(self.at..self.at + count).unwrap_or_default();
        let (Some(first), Some(last)) = (words.first(), words.last()) else { return 0.0 };
        let real = words.iter().filter(|w| !(w.is(PARTICLE) && w.shape == Shape::Lower)).count();
        let known = words.iter().filter(|w| w.known()).count();
        let plain = words.iter().any(|w| w.known() && !w.is(COMMON | STOP | PLACE));
        let full = words.iter().filter(|w| w.shape != Shape::Initial).count();
        folded.clear();
        lexicon::fold(self.view.slice(last.start, last.end), folded);
        let family = last.is(FAMILY) || lexicon::ends_like_a_family_name(folded);
        let mut score: f32 = if real >= 2 {
            match (first.is(GIVEN), family) {
                (true, true) if plain => 0.9,
                (true, true) => 0.6,
                (true, false) if first.is(COMMON | PLACE) => 0.4,
                (true, false) => 0.7,
                (false, _) if first.is(FAMILY) && last.is(GIVEN) && plain => 0.7,
                (false, true) if first.shape == Shape::Initial => 0.65,
                (false, false) if first.shape == Shape::Initial && full == 1 => {
                    if first.first {
                        0.45
                    } else {
                        0.5
                    }
                }
                (false, true) if last.is(FAMILY) && !last.is(COMMON) => 0.5,
                (false, true) => 0.3,
                (false, false) if known > 0 && plain => 0.45,
                (false, false) => 0.2,
            }
        } else if first.is(GIVEN) && !first.is(COMMON | STOP | PLACE) {
            if first.shape == Shape::Upper { 0.4 } else { 0.55 }
        } else if first.is(GIVEN) {
            0.2
        } else if first.is(FAMILY) && !first.is(COMMON | PLACE) {
            0.3
        } else {
            0.05
        };
        if words.get(1..words.len() - 1).unwrap_or_default().iter().any(|w| w.shape == Shape::Initial) {
            score += 0.35;
        }
        score += match lead {
            Lead::Against => -0.35,
            Lead::Weak if real >= 2 => 0.1,
            Lead::None | Lead::Weak => 0.0,
            Lead::Strong if real >= 2 || first.known() => 0.35,
            Lead::Strong => 0.3,
            Lead::Certain => 0.6,
        };
        if self.slot.is_some() {
            score += if real >= 2 {
                0.4
            } else if known > 0 {
                0.35
            } else {
                0.2
            };
        }
        for word in words.iter().filter(|w| w.shape != Shape::Initial && !w.is(PARTICLE)) {
            folded.clear();
            lexicon::fold(self.view.slice(word.start, word.end), folded);
            if self.in_mail(first.start, last.end, folded) {
                score += 0.45;
                break;
            }
        }
        score + self.after(words, lead, folded)
    }

    /// What follows the run, and what it is made of.
    fn after(&self, words: &[Word], lead: Lead, folded: &mut String) -> f32 {
        let (Some(first), Some(last)) = (words.first(), words.last()) else { return 0.0 };
        let mut score = 0.0;
        let next = self.word(words.len());
        let follows = next.filter(|w| w.gap == Gap::Space);
        if self.taken_near(last.end, 3) {
            score += 0.25;
        }
        if next.is_some_and(|w| {
            w.gap == Gap::Comma && matches!(self.view.slice(w.start, w.end), "who" | "whose" | "aged")
        }) {
            score += 0.25;
        }
        if let Some(next) = follows {
            if next.is(ORG) && (next.shape == Shape::Capital || words.len() == 1 && lead < Lead::Strong) {
                score -= 0.6;
            } else if next.is(VERB) && next.shape == Shape::Lower {
                score += 0.15;
            }
        }
        let after = self.view.slice(last.end, last.end + 2);
        if after == " &" || self.view.slice(first.start.saturating_sub(2), first.start) == "& " {
            score -= 0.6;
        }
        if words.len() > 1 && (last.is(ORG) && !last.known() || first.is(PLACE) && !first.is(GIVEN)) {
            score -= 0.5;
        }
        if words.len() == 1 && first.is(PLACE) && lead < Lead::Certain {
            score -= 0.3;
        }
        if words.iter().all(|w| w.shape == Shape::Upper) && words.iter().any(|w| w.end - w.start <= 3) {
            score -= 0.2;
        }
        if let [one, two, ..] = words {
            folded.clear();
            lexicon::fold(self.view.slice(one.start, one.end), folded);
            folded.push(' ');
            lexicon::fold(self.view.slice(two.start, two.end), folded);
            if lexicon::is_brand(folded) {
                score -= 0.8;
            }
        }
        score
    }

    /// Names without capitals: given and family name both known, or one known where a person is expected.
    fn lower_case(&self, lead: Lead) -> Option<Name> {
        let first = self.word(0)?;
        if first.shape != Shape::Lower
            || first.is(STOP | TRIGGER | TITLE | PARTICLE | VERB | LINK | ORG)
            || self.view.char_before(first.start) == Some('\'')
        {
            return None;
        }
        let mut count = 1;
        let mut ahead = 1;
        while let Some(next) =
            self.word(ahead).filter(|w| w.gap == Gap::Space && w.shape == Shape::Lower && ahead < MAX_WORDS)
        {
            if next.is(PARTICLE)
                && self
                    .word(ahead + 1)
                    .is_some_and(|w| w.gap == Gap::Space && w.known() && !w.is(COMMON | STOP))
            {
                ahead += 1;
                continue;
            }
            let family = next.is(FAMILY)
                && (!next.is(COMMON | STOP) || lead >= Lead::Weak && next.flags & (STOP | VERB | LINK) == 0);
            let given = next.is(GIVEN) && !next.is(COMMON | STOP | VERB | LINK);
            if !(family || given || self.goes_on_in_lower_case(ahead, lead)) {
                break;
            }
            ahead += 1;
            count = ahead;
        }
        let words = self.words.get(self.at..self.at + count)?;
        let last = words.last()?;
        let clean = |w: &Word| w.known() && !w.is(COMMON | STOP | PLACE);
        let strong = words.iter().filter(|w| clean(w)).count();
        let long = words.iter().any(|w| clean(w) && w.end - w.start >= 4);
        let score = if count >= 2 && first.is(GIVEN) && clean(first) && !last.known() {
            0.6
        } else if count >= 2 && lead >= Lead::Weak && first.is(GIVEN) && clean(first) && last.is(FAMILY) {
            0.7
        } else if count >= 2 && first.is(GIVEN) && last.is(FAMILY) && strong >= 2 && long {
            0.75
        } else if lead >= Lead::Strong && first.is(GIVEN) && clean(first) && long {
            if count == 1 && lead < Lead::Certain { 0.5 } else { 0.7 }
        } else if lead == Lead::Certain && clean(first) {
            0.6
        } else {
            return None;
        };
        Some(Name { skip: 0, count, score })
    }

    /// Whether an unknown word after a known given name is the family name: where a person is expected, or before
    /// what a person does, or beside another finding.
    fn goes_on_in_lower_case(&self, ahead: usize, lead: Lead) -> bool {
        let (Some(first), Some(next)) = (self.word(0), self.word(ahead)) else { return false };
        let word = self.view.slice(next.start, next.end);
        let ordinary = ["ly", "ing", "ed", "tion", "ment"].iter().any(|end| word.ends_with(end));
        let given = first.is(GIVEN) && !first.is(COMMON | STOP | PLACE) && first.end - first.start >= 4;
        let before_verb =
            self.word(ahead + 1).is_some_and(|w| w.gap == Gap::Space && w.is(VERB) && w.is(STOP | VERB));
        ahead == 1
            && given
            && next.flags == 0
            && word.len() >= 4
            && !ordinary
            && (lead >= Lead::Strong || before_verb || self.taken_near(next.end, 3))
    }
}
