//! Numbers: cards, phone numbers and the numbers that states, banks and health services give to people.
//!
//! Digits are read in chains of groups. From each group on, every kind says whether it would take the next groups, by
//! form, check digits and the words around; the surest takes them and reading goes on behind.

mod chain;
mod checks;
mod phone;
#[cfg(test)]
mod tests;

use self::chain::{Chain, Group, Separator};
use super::{
    context::{Context, Topic},
    found::{Claims, Kind},
    net,
    view::View,
};

/// How far before a number the words that speak of it may stand, in bytes.
const BEFORE: usize = 40;
/// How far after it.
const AFTER: usize = 20;

/// Claims the numbers in `view`.
pub(super) fn find(view: &View<'_>, context: &Context, claims: &mut Claims) {
    let bytes = view.bytes();
    let mut at = 0;
    while let Some(skip) = bytes.get(at..).and_then(|rest| rest.iter().position(u8::is_ascii_digit)) {
        let start = at + skip;
        let (chain, next) = Chain::read(view, start);
        judge(view, context, &chain, claims);
        at = next.max(start + 1);
    }
}

fn judge(view: &View<'_>, context: &Context, chain: &Chain, claims: &mut Claims) {
    let count = chain.groups().len();
    let mut from = 0;
    while from < count {
        let taken = take(view, context, chain, from, claims);
        // Digits that are spread out are one number or none.
        from = taken.unwrap_or(if chain.spread { count } else { from + 1 });
    }
}

/// What a kind would take.
#[derive(Clone, Copy)]
struct Offer {
    to: usize,
    kind: Kind,
    score: f32,
}

/// Claims what begins with the group `from`, and returns one past its last group.
fn take(
    view: &View<'_>,
    context: &Context,
    chain: &Chain,
    from: usize,
    claims: &mut Claims,
) -> Option<usize> {
    if let Some(to) = other(chain, from) {
        return Some(to);
    }
    let card = card(context, chain, from);
    if let Some(offer) = card.filter(|offer| offer.score >= 0.5) {
        return Some(claim(chain, from, offer, claims));
    }
    if let Some(to) = four_numbers(view, context, chain, from, claims) {
        return Some(to);
    }
    if chain.attached && from == 0 {
        // The rest of `INV-2024-081234` is no phone number either.
        return Some(chain.groups().len());
    }
    let best = [
        card,
        nine(context, chain, from),
        ten(context, chain, from),
        bank(context, chain, from),
        phone(view, context, chain, from),
        security_code(context, chain, from),
    ]
    .into_iter()
    .flatten()
    .reduce(|best, offer| if offer.score > best.score { offer } else { best })?;
    let to = claim(chain, from, best, claims);
    if best.kind == Kind::Phone && to == chain.groups().len() {
        extend(view, claims, chain.span(from, to).1, best.score);
    }
    Some(to)
}

fn claim(chain: &Chain, from: usize, offer: Offer, claims: &mut Claims) -> usize {
    let (mut start, end) = chain.span(from, offer.to);
    if offer.kind == Kind::Phone
        && from == 0
        && let Some(plus) = chain.plus
    {
        start = start.min(plus);
    }
    claims.push(start, end, offer.kind, offer.score);
    offer.to
}

/// An extension behind a phone number: ` ext. 12`, `x12`.
fn extend(view: &View<'_>, claims: &mut Claims, end: usize, score: f32) {
    let rest = view.slice(end, (end + 16).min(view.text.len()));
    let rest = if rest.is_empty() { view.text.get(end..).unwrap_or("") } else { rest };
    let trimmed = rest.trim_start_matches([' ', ',']);
    let Some(mark) = ["extension", "ext.", "ext", "x", "X", "durchwahl", "poste"]
        .into_iter()
        .find(|mark| trimmed.starts_with(mark))
    else {
        return;
    };
    let after = trimmed.strip_prefix(mark).unwrap_or("").trim_start_matches([' ', ':']);
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    if (1..=6).contains(&digits) {
        let from = end + rest.len() - after.len();
        if let Some(claim) = claims.last_ending(end) {
            claims.push(claim, from + digits, Kind::Phone, score);
        }
    }
}

/// Dates, books and other numbers that are certainly something else.
fn other(chain: &Chain, from: usize) -> Option<usize> {
    if from == 0 && chain.plus.is_some() {
        return None;
    }
    let separators = |groups: &[Group]| {
        groups
            .iter()
            .skip(1)
            .all(|group| matches!(group.separator, Separator::Hyphen | Separator::Dot | Separator::Slash))
    };
    let three = chain.some(from, from + 3);
    if three.len() == 3 && separators(three) && phone::date(three, chain.digits(from, from + 3)) {
        // Five pairs are a French phone number, whatever its first six digits are.
        let pairs = chain.groups().iter().skip(from).take_while(|group| group.len() == 2).count();
        if pairs < 5 {
            return Some(from + 3);
        }
    }
    for groups in [4, 5] {
        let digits = chain.digits(from, from + groups);
        if matches!(digits, [9, 7, 8 | 9, ..])
            && checks::ean13(digits)
            && separators(chain.some(from, from + groups))
        {
            return Some(from + groups);
        }
    }
    None
}

fn card(context: &Context, chain: &Chain, from: usize) -> Option<Offer> {
    let all = chain.groups();
    let longest = if chain.spread { all.len() } else { all.len().min(from + 7) };
    for to in (from + 1..=longest).rev() {
        let digits = chain.digits(from, to);
        let groups = chain.some(from, to);
        if !(12..=19).contains(&digits.len()) || (from == 0 && chain.plus.is_some()) {
            continue;
        }
        let regular = chain.spread
            || groups.iter().skip(1).all(|group| {
                group.len() >= 3
                    && matches!(
                        group.separator,
                        Separator::Space | Separator::Hyphen | Separator::Dot | Separator::Break
                    )
            });
        // A long row of digits behind one point is a decimal number.
        let dot = |group: Option<&Group>| group.is_some_and(|group| group.separator == Separator::Dot);
        let decimal = (groups.len() == 2 && dot(groups.last())) || (groups.len() == 1 && dot(groups.first()));
        if !regular
            || decimal
            || (chain.inside && from == 0)
            || !checks::luhn(digits)
            || digits.iter().all(|&digit| digit == 0)
        {
            continue;
        }
        let (start, end) = chain.span(from, to);
        let spoken_of = context.near(Topic::Card, start, end, BEFORE, AFTER);
        let score = match (checks::issuer(digits), spoken_of) {
            (Some(score), true) => score.max(0.9),
            (Some(score), false) if chain.attached && from == 0 => score - 0.2,
            (Some(score), false) => score,
            (None, true) if digits.len() >= 13 => 0.6,
            _ => continue,
        };
        return Some(Offer { to, kind: Kind::Card, score });
    }
    None
}

fn four_numbers(
    view: &View<'_>,
    context: &Context,
    chain: &Chain,
    from: usize,
    claims: &mut Claims,
) -> Option<usize> {
    let groups = chain.some(from, from + 4);
    let dotted = groups.len() == 4 && groups.iter().skip(1).all(|group| group.separator == Separator::Dot);
    if !dotted || (from == 0 && (chain.plus.is_some() || chain.open.is_some() && chain.attached)) {
        return None;
    }
    let (start, end) = (groups.first()?.start, groups.last()?.end);
    net::ipv4(view, context, start, end, claims).then_some(from + 4)
}

/// How far words after `end` may stand: to the end of the sentence, the line or the cell.
fn after(view: &View<'_>, end: usize) -> usize {
    let rest = view.bytes().get(end..).unwrap_or(&[]);
    rest.iter()
        .take(AFTER)
        .take_while(|byte| !matches!(byte, b'.' | b';' | b',' | b'\n' | b'"' | b'|' | b'!' | b'?'))
        .count()
}

/// Whether the groups all have one kind of separator between them, and which.
fn uniform(groups: &[Group]) -> Option<Separator> {
    let separator = groups.get(1)?.separator;
    groups.iter().skip(1).all(|group| group.separator == separator).then_some(separator)
}

fn lengths_are(groups: &[Group], lengths: &[usize]) -> bool {
    groups.len() == lengths.len() && groups.iter().zip(lengths).all(|(group, &length)| group.len() == length)
}

/// US social security and taxpayer numbers.
fn nine(context: &Context, chain: &Chain, from: usize) -> Option<Offer> {
    if from == 0 && chain.plus.is_some() {
        return None;
    }
    let grouped = lengths_are(chain.some(from, from + 3), &[3, 2, 4]);
    let to = if grouped {
        from + 3
    } else if chain.spread && chain.groups().len() == 9 {
        9
    } else {
        from + 1
    };
    let groups = chain.some(from, to);
    let digits = chain.digits(from, to);
    let (kind, topic) = match () {
        () if checks::ssn(digits) => (Kind::Ssn, Topic::Ssn),
        () if checks::itin(digits) => (Kind::Itin, Topic::Itin),
        () => return None,
    };
    let (start, end) = chain.span(from, to);
    let distance = context.distance(topic, start, end, BEFORE, AFTER);
    let nearest_other = [Topic::OtherNumber, Topic::Phone]
        .into_iter()
        .filter_map(|topic| context.distance(topic, start, end, 16, 0))
        .min();
    let base = match (grouped, uniform(groups)) {
        (true, Some(Separator::Hyphen)) => 0.85,
        (true, Some(Separator::Space)) => 0.6,
        (true, Some(Separator::Dot | Separator::Break | Separator::Slash)) => 0.45,
        (true, _) => 0.3,
        (false, _) => 0.1,
    };
    let score = match (distance, nearest_other) {
        (Some(distance), other) if other.is_none_or(|other| distance <= other) => 0.96,
        (None, Some(_)) if !grouped || base < 0.8 => return None,
        (None, Some(_)) => base - 0.3,
        _ => base,
    };
    (score >= 0.3).then_some(Offer { to, kind, score })
}

/// NHS and US provider numbers: ten digits.
fn ten(context: &Context, chain: &Chain, from: usize) -> Option<Offer> {
    if from == 0 && chain.plus.is_some() {
        return None;
    }
    let grouped = lengths_are(chain.some(from, from + 3), &[3, 3, 4]);
    let to = if grouped {
        from + 3
    } else if chain.spread {
        chain.groups().len()
    } else {
        from + 1
    };
    let digits = chain.digits(from, to);
    let (start, end) = chain.span(from, to);
    if checks::npi(digits) && context.near(Topic::Npi, start, end, BEFORE, AFTER) {
        return Some(Offer { to, kind: Kind::Npi, score: 0.95 });
    }
    if !checks::nhs(digits) {
        return None;
    }
    let distance = context.distance(Topic::Nhs, start, end, 60, AFTER);
    let phone = context.distance(Topic::Phone, start, end, BEFORE, 0);
    match (distance, phone) {
        (Some(distance), phone) if phone.is_none_or(|phone| distance < phone) => {
            Some(Offer { to, kind: Kind::Nhs, score: 0.95 })
        }
        // Without words it is one as long as it cannot be a phone number.
        (None, None) if grouped => Some(Offer { to, kind: Kind::Nhs, score: 0.55 }),
        _ => None,
    }
}

/// US bank account and routing numbers: nothing but digits, so only where words speak of them.
fn bank(context: &Context, chain: &Chain, from: usize) -> Option<Offer> {
    if from == 0 && (chain.plus.is_some() || chain.open.is_some()) {
        return None;
    }
    let all = chain.groups();
    let to = if chain.spread {
        all.len()
    } else {
        // Groups of an account number are not far apart in length; one group is the usual case.
        let more = all.iter().skip(from + 1).take(4).take_while(|group| {
            matches!(group.separator, Separator::Hyphen | Separator::Space) && group.len() >= 3
        });
        from + 1 + more.count()
    };
    let digits = chain.digits(from, to);
    let (start, end) = chain.span(from, to);
    if checks::routing(digits) && context.near(Topic::Routing, start, end, BEFORE, 8) {
        return Some(Offer { to, kind: Kind::Bank, score: 0.92 });
    }
    let distance = context.distance(Topic::Bank, start, end, BEFORE, 0)?;
    let nearer = [
        Topic::Phone,
        Topic::OtherNumber,
        Topic::Ssn,
        Topic::Itin,
        Topic::Card,
        Topic::Passport,
        Topic::Licence,
    ]
    .into_iter()
    .any(|topic| context.distance(topic, start, end, BEFORE, 0).is_some_and(|other| other < distance));
    let date = phone::date(chain.some(from, to), digits);
    ((6..=17).contains(&digits.len()) && !nearer && !date).then_some(Offer {
        to,
        kind: Kind::Bank,
        score: 0.8,
    })
}

fn phone(view: &View<'_>, context: &Context, chain: &Chain, from: usize) -> Option<Offer> {
    let offer = |to, score| Some(Offer { to, kind: Kind::Phone, score });
    if let Some((to, score)) = phone::with_code(chain, from) {
        let (start, end) = chain.span(from, to);
        let other = score < 0.9 && context.near(Topic::OtherNumber, start, end, 12, 0);
        return offer(to, if other { score - 0.3 } else { score });
    }
    if from == 0 && chain.plus.is_some() {
        return None;
    }
    let shaped = if chain.spread { None } else { phone::by_shape(chain, from) };
    let spoken = phone::spoken_of(chain, from);
    let to = shaped.map(|(to, _)| to).or(spoken)?;
    let (start, end) = chain.span(from, to);
    let distance = context.distance(Topic::Phone, start, end, BEFORE, after(view, end).min(AFTER / 2));
    let other = context.distance(Topic::OtherNumber, start, end, 16, 0);
    match (shaped, distance, other) {
        (Some((to, _)), Some(distance), other) if other.is_none_or(|other| distance <= other) => {
            offer(to, 0.93)
        }
        (Some((to, score)), _, Some(_)) => offer(to, score - 0.4),
        (Some((to, score)), _, None) => offer(to, score),
        (None, Some(distance), other) if other.is_none_or(|other| distance <= other) => offer(spoken?, 0.75),
        (None, _, None) if to == from + 1 || chain.spread => {
            let digits = chain.digits(from, to);
            // Nobody spreads out a number that is not meant to be hidden.
            let hidden = chain.spread && digits.first() == Some(&0) && (9..=12).contains(&digits.len());
            let score = if hidden { 0.55 } else { phone::plain(digits) };
            if score > 0.0 { offer(to, score) } else { None }
        }
        _ => None,
    }
}

/// The three or four digits on the back of a card.
fn security_code(context: &Context, chain: &Chain, from: usize) -> Option<Offer> {
    let group = chain.some(from, from + 1).first()?;
    let fits = matches!(group.len(), 3 | 4) && context.near(Topic::Cvv, group.start, group.end, 12, 0);
    fits.then_some(Offer { to: from + 1, kind: Kind::Cvv, score: 0.9 })
}
