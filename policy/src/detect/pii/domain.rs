//! Host names inside text: labels, top-level domains, and the ways people write the dots between them.

use super::view::View;

/// Two-letter country domains, and the general ones that are in wide use (IANA root zone database), sorted.
const TOP_LEVEL: &str = "ac academy ad ae aero af ag agency ai al am ao app aq ar art as asia at au auto aw ax az ba bank \
    bar bb bd be best bf bg bh bi bike bio biz bj blog bm bn bo br bs bt build builders business bw by bz ca cafe cam camp \
    capital care careers cash cat cc cd center ceo cf cg ch chat church ci city ck cl clinic cloud club cm cn co coach \
    codes coffee com community company computer consulting contact coop cr credit cu cv cw cx cy cz data date de deals \
    dental design dev digital direct directory dj dk dm do doctor dog domains dz earth ec eco edu education ee eg email \
    energy engineer engineering equipment er es estate et eu events exchange expert express family fans farm fashion fi \
    finance financial fit fj fk fm fo foundation fr fun fund ga gallery games gay gd ge gf gg gh gi gl global gm gmbh gn \
    gold gov gp gq gr green group gs gt gu guide guru gw gy health help hk hm hn holdings host hosting hotel house how hr \
    ht hu icu id ie il im in inc industries info ink institute insure int international investments io iq ir is it je jm \
    jo jobs jp ke kg kh ki km kn kp kr kw ky kz la land law lawyer lb lc legal li life limited link live lk llc loan local \
    lol london lr ls lt ltd lu lv ly ma maison management market marketing mc md me media medical mg mh mil ml mm mn mo \
    mobi money mp mq mr ms mt mu museum mv mw mx my mz na name nc ne net network news nf ng ngo ni nl no np nr nu nyc nz om \
    one online ong onl org pa page paris partners parts party pe pet pf pg ph photo photography photos pk pl plus pm pn \
    post pr press pro productions properties ps pt pub pw py qa re realty red rentals report rest restaurant review \
    reviews rip ro rocks rs ru run rw sa sale salon sb sc school science sd se security services sg sh shop show si site \
    sj sk ski sl sm sn so social software solar solutions space sr ss st store stream studio style su support surf sv sx \
    sy systems sz tax taxi tc td team tech technology tel tf tg th tips tj tk tl tm tn to today tokyo tools top tours town \
    toys trade training travel tt tube tv tw tz ua ug uk university us uy uz va vc ve ventures vet vg vi video vin vip vn \
    vote vu wang watch website wedding wf wien wiki win wine work works world ws wtf xyz ye yoga yt za zm zone zw test \
    example invalid";

/// Whether `label` is a top-level domain in wide use, in any case.
pub(super) fn is_top_level(label: &str) -> bool {
    use std::{collections::BTreeSet, sync::LazyLock};
    static SET: LazyLock<BTreeSet<&str>> = LazyLock::new(|| TOP_LEVEL.split_whitespace().collect());
    if label.starts_with("xn--") || label.starts_with("XN--") {
        return true;
    }
    let mut lower = [0_u8; 16];
    let Some(target) = lower.get_mut(..label.len()) else { return false };
    for (to, from) in target.iter_mut().zip(label.bytes()) {
        *to = from.to_ascii_lowercase();
    }
    std::str::from_utf8(target).is_ok_and(|lower| SET.contains(lower))
}

/// Letters of the alphabets that addresses are written in; scripts that set no spaces between words are out, so that
/// an address ends where their text begins.
pub(super) fn is_address_letter(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || (matches!(u32::from(c), 0xc0..=0x52f | 0x1e00..=0x1fff) && c.is_alphanumeric())
}

/// How the dots of a host name are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dots {
    /// `example.com`
    Plain,
    /// `example . com`
    Spaced,
    /// `example dot com`
    Words,
}

/// A host name in the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Host {
    /// One past its last byte.
    pub(super) end: usize,
    /// Where its last label starts.
    pub(super) last: usize,
    /// The strangest way in which its dots are written.
    pub(super) dots: Dots,
    /// Whether a dot stands for `[.]` or the like.
    pub(super) disguised: bool,
}

impl Host {
    /// The last label.
    pub(super) fn top<'a>(&self, view: &View<'a>) -> &'a str {
        view.slice(self.last, self.end)
    }
}

/// The words for a dot.
const DOT_WORDS: [&str; 8] = ["dot", "punto", "ponto", "point", "punkt", "punt", "kropka", "точка"];

/// The longest host name of DNS (RFC 1035, 2.3.4), with room for how it may be written.
const LONGEST: usize = 300;

/// Reads the host name that begins at `start`: at least two labels, the last one of letters. Where dots are written
/// oddly it ends with a known top-level domain.
pub(super) fn read(view: &View<'_>, start: usize, odd: bool) -> Option<Host> {
    let mut at = label(view, start)?;
    let mut labels = 1;
    let mut best: Option<Host> = None;
    let mut dots = Dots::Plain;
    let mut disguised = false;
    while at - start < LONGEST {
        let Some((next, how)) = dot(view, at, odd) else { break };
        let Some(end) = label(view, next) else { break };
        // `…@example.com.Then` is a full stop without its space.
        let capital = view.char_at(next).is_some_and(char::is_uppercase);
        if how == Dots::Plain
            && capital
            && view.char_before(at).is_some_and(char::is_lowercase)
            && best.is_some()
        {
            break;
        }
        disguised |= how == Dots::Plain && view.disguised(at);
        if dots == Dots::Plain || how == Dots::Words {
            dots = how;
        }
        labels += 1;
        at = end;
        let last = view.slice(next, end);
        let top = if dots == Dots::Plain {
            last.chars().count() >= 2 && last.len() <= 24 && last.chars().all(char::is_alphabetic)
                || last.starts_with("xn--")
        } else {
            is_top_level(last) && !last.chars().any(char::is_uppercase)
        };
        if top && labels >= 2 {
            best = Some(Host { end, last: next, dots, disguised });
        }
    }
    best
}

/// The end of the label at `start`: letters, digits and inner hyphens, at most 63 bytes.
fn label(view: &View<'_>, start: usize) -> Option<usize> {
    let mut end = start;
    for c in view.text.get(start..)?.chars() {
        if !(is_address_letter(c) || c == '-' || c == '_') || end - start > 63 {
            break;
        }
        end += c.len_utf8();
    }
    while end > start && matches!(view.byte(end - 1), b'-' | b'_') {
        end -= 1;
    }
    (end > start && view.byte(start) != b'-').then_some(end)
}

/// The dot at `at`: where the next label begins, and how it is written.
fn dot(view: &View<'_>, at: usize, odd: bool) -> Option<(usize, Dots)> {
    if view.byte(at) == b'.' {
        let spaced = odd && view.byte(at + 1) == b' ' && view.disguised(at);
        return Some(if spaced { (at + 2, Dots::Spaced) } else { (at + 1, Dots::Plain) });
    }
    if !odd || view.byte(at) != b' ' {
        return None;
    }
    if view.byte(at + 1) == b'.' {
        let next = if view.byte(at + 2) == b' ' { at + 3 } else { at + 2 };
        return Some((next, Dots::Spaced));
    }
    let rest = view.text.get(at + 1..)?;
    for word in DOT_WORDS {
        let matches = rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        if matches && view.byte(at + 1 + word.len()) == b' ' {
            return Some((at + 2 + word.len(), Dots::Words));
        }
    }
    None
}
