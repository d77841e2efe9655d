//! What single words are known for. The lists are data: lower case, without accents and hyphens, sorted.

use std::{collections::HashMap, sync::LazyLock};

/// A given name.
pub(super) const GIVEN: u16 = 1;
/// A family name.
pub(super) const FAMILY: u16 = 1 << 1;
/// A name that is an ordinary word too, so that it counts little alone.
pub(super) const COMMON: u16 = 1 << 2;
/// An ordinary word that begins sentences and is not part of a name.
pub(super) const STOP: u16 = 1 << 3;
/// A word after which a person is named (`customer`, `regards`, `spoke`).
pub(super) const TRIGGER: u16 = 1 << 4;
/// A title (`Dr`).
pub(super) const TITLE: u16 = 1 << 5;
/// A word that makes what stands before it an organisation, a place or a term.
pub(super) const ORG: u16 = 1 << 6;
/// A place, a product, a language.
pub(super) const PLACE: u16 = 1 << 7;
/// Stands between the parts of a name (`van`, `de la`).
pub(super) const PARTICLE: u16 = 1 << 8;
/// Leads to a person after a trigger (`call with`, `belongs to`).
pub(super) const LINK: u16 = 1 << 9;
/// What a person does, after the name.
pub(super) const VERB: u16 = 1 << 10;
/// Joins `name` and the name (`my name is`).
pub(super) const COPULA: u16 = 1 << 11;
/// The word `name` itself.
pub(super) const NAME: u16 = 1 << 12;
/// Begins the name of a place (`San`, `Mount`).
pub(super) const HEAD: u16 = 1 << 13;
/// Ends a letter (`regards`), so that the next line is a name.
pub(super) const CLOSING: u16 = 1 << 14;

const HEADS: &str = "san santa santo sao saint st ste mount mt lake fort ft port puerto los las new cape";

const CLOSINGS: &str = "regards sincerely thanks cheers best yours gruss grusse grussen cordialement saludos atentamente \
     saluti abracos groet groeten groetjes pozdrawiam halsningar mvh terveisin pozdravem saygilar cumprimentos";

const PARTICLES: &str = "af al ap ben bin binti da das de degli dei del della den der di do dos du e el ibn la le los o \
     san st te ten ter tot van vander vom von y zu zum zur ap";

const LINKS: &str = "with to for by from of and the a an our my your his her their that mit an fur von der die den dem \
     und avec a pour de par le la du et notre con para por al y el del nuestra nuestro per da di il alla e com \
     ao do da met voor aan van naar en de z dla od do med till fran och s new as";

const VERBS: &str = "said says say asked asks will would has had was is wants wanted lives lived works worked wrote \
     writes called calls signed joined joins left replied sent sends told thinks thought likes loves can could should \
     applied booked books bought complained confirmed reported requested needs needed prefers became born died won \
     agreed agrees presented presents prepared prepares reviewed reviews approved approves attended attends \
     manages managed leads led runs ran went came got gave made takes took does did came knows knew who whose and \
     sagt sagte hat ist war wohnt bittet mochte schrieb dit a est etait habite demande veut dijo dice es vive quiere \
     pide disse e vive chiede vuole mora quer pediu zegt is heeft woont vraagt powiedzial mieszka sager sade ar bor vill";

const COPULAS: &str = "is was are am ist est es e jest ar er heisse heisst heet lautet called named";

const NAMES: &str = "name names named fullname firstname lastname surname givenname familyname username nom nombre nome \
     naam namn navn nazwisko imie jmeno isim vorname nachname kundenname prenom apellido apellidos cognome sobrenome \
     called call appelle llamo llamaba chiamo chamo heisse heet heter hedder";

static LEXICON: LazyLock<HashMap<&'static str, u16>> = LazyLock::new(|| {
    let lists: [(&'static str, u16); 12] = [
        (include_str!("../data/given.txt"), GIVEN),
        (include_str!("../data/family.txt"), FAMILY),
        (include_str!("../data/common.txt"), COMMON),
        (include_str!("../data/stop.txt"), STOP),
        (include_str!("../data/trigger.txt"), TRIGGER),
        (include_str!("../data/title.txt"), TITLE),
        (include_str!("../data/org.txt"), ORG),
        (include_str!("../data/place.txt"), PLACE),
        (PARTICLES, PARTICLE),
        (LINKS, LINK),
        (VERBS, VERB),
        (COPULAS, COPULA),
    ];
    let mut words: HashMap<&'static str, u16> = HashMap::with_capacity(12_000);
    for (list, flag) in lists.into_iter().chain([(NAMES, NAME), (HEADS, HEAD), (CLOSINGS, CLOSING)]) {
        for word in list.split_whitespace() {
            *words.entry(word).or_default() |= flag;
        }
    }
    words
});

/// Pairs of words that are a brand or a place although they look like a name.
static BRANDS: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| include_str!("../data/brands.txt").lines().collect());

/// Endings that make a family name of an unknown word.
const ENDINGS: &[&str] = &[
    "aitis", "ashvili", "berg", "berger", "bauer", "chenko", "czyk", "dottir", "enko", "escu", "etti",
    "eyev", "hofer", "ides", "iewicz", "elli", "ini", "ino", "ishvili", "akis", "opoulos", "mann", "maier",
    "meyer", "ova", "ovic", "ovich", "sson", "sen", "ski", "ska", "skiy", "sky", "stein", "strom", "quist",
    "gren", "wicz", "wala", "yan", "ian", "huber", "idis", "oglu", "zadeh", "pour", "wati", "anto", "awan",
    "vic", "ez", "es", "ault", "eau", "ier", "ard", "ema", "stra", "sma", "inga", "ov", "ev", "uk", "iuk",
    "ak", "ik", "ek", "ez", "ues", "eira", "inho", "ucci", "acci", "one", "ato", "ardi", "oni", "ani",
    "elli", "illo", "uzzi",
];

/// Reads the lists, so that the first text does not wait for them.
pub(super) fn warm() {
    LazyLock::force(&LEXICON);
    LazyLock::force(&BRANDS);
}

/// What the folded `word` is known for.
pub(super) fn look_up(word: &str) -> u16 {
    LEXICON.get(word).copied().unwrap_or(0)
}

/// Whether `word` ends as family names do.
pub(super) fn ends_like_a_family_name(word: &str) -> bool {
    word.len() >= 5
        && (ENDINGS.iter().any(|ending| word.len() >= ending.len() + 3 && word.ends_with(ending))
            || ["mac", "mc", "fitz", "van", "von"].iter().any(|start| word.starts_with(start)))
}

/// Whether the two words are a brand or a place.
pub(super) fn is_brand(pair: &str) -> bool {
    BRANDS.binary_search(&pair).is_ok()
}

/// Appends `word` in lower case, without accents, hyphens and apostrophes.
pub(super) fn fold(word: &str, out: &mut String) {
    use unicode_normalization::char::{decompose_canonical, is_combining_mark};
    for c in word.chars() {
        match c {
            'A'..='Z' | 'a'..='z' => out.push(c.to_ascii_lowercase()),
            '-' | '\'' => {}
            'ł' | 'Ł' => out.push('l'),
            'ø' | 'Ø' => out.push('o'),
            'ß' => out.push_str("ss"),
            'ı' | 'İ' => out.push('i'),
            'đ' | 'Đ' | 'ð' | 'Ð' => out.push('d'),
            'æ' | 'Æ' => out.push_str("ae"),
            'œ' | 'Œ' => out.push_str("oe"),
            c if c.is_ascii() => out.push(c),
            c => decompose_canonical(c, |part| {
                if !is_combining_mark(part) {
                    out.extend(part.to_lowercase());
                }
            }),
        }
    }
}
