//! Phone numbers: international ones by calling code and length, national ones by the shapes that regions use.

use super::chain::{Chain, Group, Separator};

/// Calling codes (ITU-T E.164 and its list of assigned codes) with the fewest and most digits after them.
const CODES: [(u16, u8, u8); 216] = [
    (1, 10, 10),
    (7, 10, 10),
    (20, 8, 10),
    (27, 9, 9),
    (30, 10, 10),
    (31, 9, 11),
    (32, 8, 9),
    (33, 9, 9),
    (34, 9, 9),
    (36, 8, 9),
    (39, 6, 12),
    (40, 9, 9),
    (41, 9, 9),
    (43, 4, 13),
    (44, 7, 10),
    (45, 8, 8),
    (46, 6, 10),
    (47, 5, 8),
    (48, 9, 9),
    (49, 6, 13),
    (51, 8, 11),
    (52, 10, 11),
    (53, 6, 8),
    (54, 10, 11),
    (55, 10, 11),
    (56, 9, 9),
    (57, 8, 10),
    (58, 10, 10),
    (60, 7, 10),
    (61, 9, 10),
    (62, 7, 13),
    (63, 8, 10),
    (64, 8, 10),
    (65, 8, 8),
    (66, 8, 9),
    (81, 9, 10),
    (82, 8, 11),
    (84, 7, 10),
    (86, 8, 12),
    (90, 10, 10),
    (91, 10, 10),
    (92, 8, 11),
    (93, 9, 9),
    (94, 9, 9),
    (95, 6, 10),
    (98, 10, 10),
    (211, 9, 9),
    (212, 9, 9),
    (213, 8, 9),
    (216, 8, 8),
    (218, 8, 9),
    (220, 7, 7),
    (221, 9, 9),
    (222, 8, 8),
    (223, 8, 8),
    (224, 8, 9),
    (225, 10, 10),
    (226, 8, 8),
    (227, 8, 8),
    (228, 8, 8),
    (229, 8, 10),
    (230, 7, 8),
    (231, 7, 9),
    (232, 8, 8),
    (233, 9, 9),
    (234, 8, 10),
    (235, 8, 8),
    (236, 8, 8),
    (237, 8, 9),
    (238, 7, 7),
    (239, 7, 7),
    (240, 9, 9),
    (241, 7, 8),
    (242, 9, 9),
    (243, 9, 9),
    (244, 9, 9),
    (245, 7, 9),
    (246, 7, 7),
    (247, 4, 5),
    (248, 7, 7),
    (249, 9, 9),
    (250, 9, 9),
    (251, 9, 9),
    (252, 7, 9),
    (253, 8, 8),
    (254, 9, 10),
    (255, 9, 9),
    (256, 9, 9),
    (257, 8, 8),
    (258, 8, 9),
    (260, 9, 9),
    (261, 9, 9),
    (262, 9, 9),
    (263, 8, 10),
    (264, 8, 9),
    (265, 7, 9),
    (266, 8, 8),
    (267, 7, 8),
    (268, 8, 8),
    (269, 7, 7),
    (290, 4, 5),
    (291, 7, 7),
    (297, 7, 7),
    (298, 6, 6),
    (299, 6, 6),
    (350, 8, 8),
    (351, 9, 9),
    (352, 5, 11),
    (353, 7, 10),
    (354, 7, 9),
    (355, 8, 9),
    (356, 8, 8),
    (357, 8, 8),
    (358, 5, 12),
    (359, 7, 9),
    (370, 8, 8),
    (371, 8, 8),
    (372, 7, 8),
    (373, 8, 8),
    (374, 8, 8),
    (375, 9, 9),
    (376, 6, 9),
    (377, 8, 9),
    (378, 6, 10),
    (379, 6, 10),
    (380, 9, 9),
    (381, 8, 10),
    (382, 8, 9),
    (383, 8, 9),
    (385, 8, 9),
    (386, 8, 8),
    (387, 8, 9),
    (389, 8, 8),
    (420, 9, 9),
    (421, 9, 9),
    (423, 7, 9),
    (500, 5, 5),
    (501, 7, 7),
    (502, 8, 8),
    (503, 8, 8),
    (504, 8, 8),
    (505, 8, 8),
    (506, 8, 8),
    (507, 7, 8),
    (508, 6, 6),
    (509, 8, 8),
    (590, 9, 9),
    (591, 8, 8),
    (592, 7, 7),
    (593, 8, 9),
    (594, 9, 9),
    (595, 9, 9),
    (596, 9, 9),
    (597, 6, 7),
    (598, 8, 8),
    (599, 7, 8),
    (670, 7, 8),
    (672, 6, 6),
    (673, 7, 7),
    (674, 7, 7),
    (675, 7, 8),
    (676, 5, 7),
    (677, 5, 7),
    (678, 5, 7),
    (679, 7, 7),
    (680, 7, 7),
    (681, 6, 6),
    (682, 5, 5),
    (683, 4, 7),
    (685, 5, 7),
    (686, 5, 8),
    (687, 6, 6),
    (688, 5, 6),
    (689, 8, 8),
    (690, 4, 7),
    (691, 7, 7),
    (692, 7, 7),
    (800, 8, 8),
    (808, 8, 8),
    (850, 6, 10),
    (852, 8, 8),
    (853, 8, 8),
    (855, 8, 9),
    (856, 8, 10),
    (870, 9, 9),
    (878, 10, 10),
    (880, 8, 10),
    (881, 8, 9),
    (882, 7, 12),
    (883, 7, 12),
    (886, 8, 9),
    (888, 8, 11),
    (960, 7, 7),
    (961, 7, 8),
    (962, 8, 9),
    (963, 8, 9),
    (964, 8, 10),
    (965, 7, 8),
    (966, 8, 9),
    (967, 7, 9),
    (968, 8, 8),
    (970, 8, 9),
    (971, 8, 9),
    (972, 8, 9),
    (973, 8, 8),
    (974, 7, 8),
    (975, 7, 8),
    (976, 7, 8),
    (977, 8, 10),
    (979, 9, 9),
    (992, 9, 9),
    (993, 8, 8),
    (994, 9, 9),
    (995, 9, 9),
    (996, 9, 9),
    (998, 9, 9),
];

/// How many digits may follow the calling code at the start of `digits`, and how long the code is.
fn code(digits: &[u8]) -> Option<(usize, std::ops::RangeInclusive<usize>)> {
    (1..=3).find_map(|length| {
        let value = digits.get(..length)?.iter().fold(0_u16, |value, &digit| value * 10 + u16::from(digit));
        let at = CODES.binary_search_by_key(&value, |&(code, _, _)| code).ok()?;
        let &(_, fewest, most) = CODES.get(at)?;
        Some((length, usize::from(fewest)..=usize::from(most)))
    })
}

/// Whether `digits`, from the calling code on, have a length that it allows. A trunk 0 that is written although it is
/// not dialled (`+44 (0)20 …`) is not counted.
fn international(digits: &[u8], trunk: bool) -> bool {
    let Some((length, allowed)) = code(digits) else { return false };
    let national = digits.get(length..).unwrap_or(&[]);
    let count = national.len() - usize::from(trunk && national.first() == Some(&0));
    // North American areas and exchanges do not begin with 0 or 1 (NANPA).
    let north_american = length != 1 || digits.first() != Some(&1) || matches!(national.first(), Some(2..=9));
    allowed.contains(&count) && north_american && digits.len() <= 17
}

/// Tries the groups from `from` on as an international number; returns one past the last group and a score.
pub(super) fn with_code(chain: &Chain, from: usize) -> Option<(usize, f32)> {
    let all = chain.groups();
    let plus = from == 0 && chain.plus.is_some();
    let longest = if chain.spread { all.len() } else { all.len().min(from + 9) };
    for to in (from + 1..=longest).rev() {
        let digits = chain.digits(from, to);
        let groups = chain.some(from, to);
        if digits.len() < 7 || digits.len() > 19 || !regular(groups, chain.spread) {
            continue;
        }
        let trunk = groups.iter().any(|group| matches!(group.separator, Separator::Open));
        if plus {
            if international(digits, trunk || digits.len() > 11) {
                return Some((to, 0.97));
            }
            continue;
        }
        // `00` is what most of the world dials before a calling code, `011` what North America does.
        let rest = match digits {
            [0, 0, rest @ ..] | [0, 1, 1, rest @ ..] if rest.first().is_some_and(|&digit| digit != 0) => rest,
            _ => continue,
        };
        if rest.len() >= 8 && international(rest, trunk) {
            let apart = groups.len() > 1 && !chain.spread;
            return Some((to, if apart { 0.9 } else { 0.6 }));
        }
    }
    None
}

/// Whether a person would group digits so: not a decimal number, not a column of figures.
fn regular(groups: &[Group], spread: bool) -> bool {
    let breaks = groups.iter().filter(|group| group.separator == Separator::Break).count();
    let slashes = groups.iter().filter(|group| group.separator == Separator::Slash).count();
    if spread {
        return slashes == 0;
    }
    // A single digit stands alone only as a calling code, a trunk prefix, or an area.
    let singles = groups.iter().skip(2).filter(|group| group.len() == 1).count();
    breaks <= 1 && slashes <= 2 && singles == 0
}

/// Tries the groups from `from` on as a national number by its shape alone.
pub(super) fn by_shape(chain: &Chain, from: usize) -> Option<(usize, f32)> {
    let all = chain.groups();
    for to in (from + 1..=all.len().min(from + 6)).rev() {
        let groups = chain.some(from, to);
        let digits = chain.digits(from, to);
        if digits.len() < 8 || digits.len() > 12 || !regular(groups, false) {
            continue;
        }
        let score = shape(chain, from, groups, digits);
        if score > 0.0 {
            return Some((to, score));
        }
    }
    None
}

fn shape(chain: &Chain, from: usize, groups: &[Group], digits: &[u8]) -> f32 {
    let mut lengths = [0; 6];
    for (to, group) in lengths.iter_mut().zip(groups) {
        *to = group.len();
    }
    let lengths = lengths.get(..groups.len()).unwrap_or(&[]);
    let inner = |separator| groups.iter().skip(1).any(|group| group.separator == separator);
    let bracket = inner(Separator::Close)
        && (chain.open.is_some() && from == 0
            || groups.first().is_some_and(|group| group.separator == Separator::Open));
    let hyphen = inner(Separator::Hyphen);
    let mixed = groups
        .iter()
        .skip(2)
        .any(|group| Some(group.separator) != groups.get(1).map(|group| group.separator));
    if inner(Separator::Slash) && (mixed || lengths.len() > 2) {
        return 0.0;
    }
    let digit = |at: usize| digits.get(at).copied().unwrap_or(0);
    // How much the separators say by themselves.
    let weight = match () {
        () if bracket => 0.85,
        () if hyphen => 0.8,
        () if inner(Separator::Dot) => 0.7,
        () if inner(Separator::Break) => 0.5,
        () => 0.65,
    };
    match lengths {
        // North America: area and exchange begin with 2 to 9 and are not N11.
        [3, 3, 4] if north_american(digits) => weight,
        [1, 3, 3, 4] if digit(0) == 1 && digits.get(1..).is_some_and(north_american) => weight.max(0.8),
        // Italian mobiles.
        [3, 3, 4] | [3, 7] if digit(0) == 3 && digit(1) >= 1 => weight - 0.1,
        [3, 7] if bracket && matches!(digit(0), 2..=9) => weight,
        // Russia.
        [1, 3, 3, 2, 2] if matches!(digit(0), 7 | 8) && matches!(digit(1), 3..=9) => weight.max(0.8),
        [3, 3, 2, 2] if matches!(digit(0), 3 | 4 | 8 | 9) => weight - 0.05,
        // Chinese mobiles.
        [3, 4, 4] if digit(0) == 1 && matches!(digit(1), 3..=9) => weight.max(0.7),
        // Brazil: area 11 to 99, mobiles begin with 9.
        [2, 5, 4] if digit(0) != 0 && digit(1) != 0 && digit(2) == 9 => weight.max(0.7),
        [2, 4, 4] if digit(0) != 0 && digit(1) != 0 && matches!(digit(2), 2..=5) => {
            if bracket || hyphen {
                weight
            } else {
                0.45
            }
        }
        [2, 9] if bracket && digit(2) == 9 => weight,
        // Spain, Portugal, Poland.
        [3, 2, 2, 2] if matches!(digit(0), 6..=9) => weight.max(0.7),
        [2, 3, 2, 2] if matches!(digit(0), 1..=9) => weight - 0.1,
        [3, 3, 3] if matches!(digit(0), 4..=9) => {
            if hyphen || bracket {
                weight - 0.15
            } else {
                0.45
            }
        }
        // Indian mobiles.
        [5, 5] if matches!(digit(0), 6..=9) => weight,
        // A trunk 0 and an area. Two short groups may be anything.
        [first, ..] if digit(0) == 0 && digit(1) != 0 && *first >= 2 && *first <= 6 && lengths.len() >= 2 => {
            // The form of social security numbers, also of those that are never given.
            let short = lengths == [3, 2, 4] || lengths.iter().skip(1).any(|&length| length < 2);
            if short || date(groups, digits) {
                0.0
            } else if digits.len() < 9 {
                0.4
            } else {
                weight.max(0.7)
            }
        }
        _ => 0.0,
    }
}

fn north_american(digits: &[u8]) -> bool {
    let n11 = |at: usize| digits.get(at + 1..at + 3) == Some(&[1, 1]);
    digits.len() == 10
        && digits.first().is_some_and(|&d| d >= 2)
        && digits.get(3).is_some_and(|&d| d >= 2)
        && !n11(0)
        && !n11(3)
}

/// Judges digits of which nearby words say that they are a phone number.
pub(super) fn spoken_of(chain: &Chain, from: usize) -> Option<usize> {
    let all = chain.groups();
    let longest = if chain.spread { all.len() } else { all.len().min(from + 6) };
    (from + 1..=longest).rev().find(|&to| {
        let groups = chain.some(from, to);
        let digits = chain.digits(from, to);
        (7..=15).contains(&digits.len())
            && regular(groups, chain.spread)
            && !date(groups, digits)
            && (chain.spread
                || groups.iter().all(|group| group.len() >= 2)
                || groups.len() == 1
                || groups.first().is_some_and(|group| group.len() == 1)
                    && groups.iter().skip(1).all(|group| group.len() >= 2))
    })
}

/// A plain row of digits that looks like a mobile number of some region, without any words: weak.
pub(super) fn plain(digits: &[u8]) -> f32 {
    match digits {
        // United Kingdom, Germany, France, Netherlands, Australia, Japan
        [0, 7, 1..=9, ..] if digits.len() == 11 => 0.5,
        [0, 1, 5..=7, ..] if matches!(digits.len(), 11 | 12) => 0.45,
        [0, 4 | 6 | 7, ..] if digits.len() == 10 => 0.45,
        [0, 7..=9, 0, ..] if digits.len() == 11 => 0.45,
        // China
        [1, 3..=9, ..] if digits.len() == 11 => 0.4,
        _ if north_american(digits) => 0.3,
        _ => 0.0,
    }
}

/// Whether groups are a calendar date: `2024-03-11`, `11.03.2024`, `03/11/24`.
pub(super) fn date(groups: &[Group], digits: &[u8]) -> bool {
    let number = |from: usize, to: usize| {
        digits
            .get(from..to)
            .map_or(0, |part| part.iter().fold(0_u32, |value, &digit| value * 10 + u32::from(digit)))
    };
    let year = |value| (1900..=2100).contains(&value);
    let day = |a, b| {
        (1..=31).contains(&a) && (1..=12).contains(&b) || (1..=12).contains(&a) && (1..=31).contains(&b)
    };
    let mut lengths = groups.iter().map(Group::len);
    match (lengths.next(), lengths.next(), lengths.next(), lengths.next()) {
        (Some(4), Some(2), Some(2), _) => year(number(0, 4)) && day(number(4, 6), number(6, 8)),
        (Some(2), Some(2), Some(4), None) => year(number(4, 8)) && day(number(0, 2), number(2, 4)),
        (Some(2), Some(2), Some(2), None) => {
            day(number(0, 2), number(2, 4)) || day(number(2, 4), number(4, 6))
        }
        (Some(4), Some(4), None, None) => year(number(0, 4)) && year(number(4, 8)),
        (Some(8), None, None, None) => {
            year(number(0, 4)) && day(number(4, 6), number(6, 8)) && number(4, 6) <= 12
        }
        _ => false,
    }
}
