//! Places in structured text that ask for a name: values of keys called `name`, columns with such a head.

use super::super::view::View;

/// Longest value that may be a name, in bytes.
const MAX_VALUE: usize = 80;

/// Appends the pieces that hold a name, sorted by start.
pub(super) fn find(view: &View<'_>, key: Option<&str>, slots: &mut Vec<(usize, usize)>) {
    slots.clear();
    if view.text.len() <= MAX_VALUE && key.is_some_and(is_name_key) {
        slots.push((0, view.text.len()));
        return;
    }
    keyed(view, slots);
    columns(view, slots);
    slots.sort_unstable();
    slots.dedup();
}

/// Whether a key, a parameter or the head of a column asks for the name of a person.
pub(super) fn is_name_key(key: &str) -> bool {
    let key = key.trim_matches(|c: char| !c.is_alphanumeric());
    let mut plain = [0_u8; 24];
    let mut length = 0;
    for byte in key.bytes().filter(|b| !matches!(b, b'_' | b'-' | b' ' | b'.')) {
        let Some(slot) = plain.get_mut(length) else { return false };
        *slot = byte.to_ascii_lowercase();
        length += 1;
    }
    let Some(plain) = plain.get(..length) else { return false };
    const EXACT: &[&[u8]] = &[
        b"name",
        b"fullname",
        b"firstname",
        b"lastname",
        b"surname",
        b"givenname",
        b"familyname",
        b"middlename",
        b"customer",
        b"customername",
        b"client",
        b"clientname",
        b"contact",
        b"contactname",
        b"contactperson",
        b"employee",
        b"employeename",
        b"patient",
        b"patientname",
        b"cardholder",
        b"cardholdername",
        b"accountholder",
        b"holder",
        b"person",
        b"owner",
        b"ownername",
        b"author",
        b"authorname",
        b"assignee",
        b"manager",
        b"recipient",
        b"sender",
        b"displayname",
        b"username",
        b"membername",
        b"billingname",
        b"shippingname",
        b"beneficiary",
        b"guest",
        b"applicant",
        b"candidate",
        b"student",
        b"studentname",
        b"nom",
        b"prenom",
        b"nombre",
        b"apellidos",
        b"nome",
        b"cognome",
        b"naam",
        b"namn",
        b"navn",
        b"vorname",
        b"nachname",
        b"kunde",
        b"imie",
        b"nazwisko",
        b"legalname",
        b"signedby",
        b"approvedby",
        b"createdby",
        b"reportedby",
        b"requestedby",
        b"attendee",
        b"passenger",
        b"tenant",
    ];
    EXACT.contains(&plain)
}

/// Values after `name=`, `"name":`, `Name:`.
fn keyed(view: &View<'_>, slots: &mut Vec<(usize, usize)>) {
    let bytes = view.bytes();
    for at in memchr::memchr2_iter(b'=', b':', bytes) {
        let key_end = view.slice(at.saturating_sub(3), at).trim_end_matches([' ', '"', '\'', '`', '*']).len()
            + at.saturating_sub(3);
        let from = bytes
            .get(..key_end)
            .unwrap_or_default()
            .iter()
            .rev()
            .take(24)
            .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b' '))
            .count();
        let key = view.slice(key_end - from, key_end);
        // Only the last words of a line of prose may be the key.
        if !is_name_key(key) && !key.rsplit(' ').next().is_some_and(is_name_key) {
            continue;
        }
        let mut start = at + 1;
        while matches!(view.byte(start), b' ' | b'\t' | b'*') {
            start += 1;
        }
        let quote = view.byte(start);
        let quoted = matches!(quote, b'"' | b'\'' | b'`');
        start += usize::from(quoted);
        let rest = bytes.get(start..(start + MAX_VALUE).min(bytes.len())).unwrap_or_default();
        let length = rest.iter().position(|&b| {
            if quoted {
                b == quote
            } else {
                matches!(b, b'\n' | b',' | b';' | b'|' | b'<' | b'(' | b')' | b'&' | b'"' | b'\t')
            }
        });
        let ends = start + rest.len() == bytes.len() && !quoted;
        if let Some(length) = length.or(ends.then_some(rest.len())) {
            slots.push((start, start + length));
        }
    }
}

/// Cells below heads like `name`, in tables whose rows are lines.
fn columns(view: &View<'_>, slots: &mut Vec<(usize, usize)>) {
    let mut head: Option<(char, u64)> = None;
    let mut start = 0;
    for line in view.text.split_inclusive('\n') {
        let separator = [',', '|', '\t', ';'].into_iter().find(|&c| line.contains(c));
        let Some(separator) = separator else {
            head = None;
            start += line.len();
            continue;
        };
        let separator = head.map_or(separator, |(c, _)| c);
        if let Some((_, wanted)) = head {
            let mut at = start;
            for (index, cell) in line.split(separator).enumerate().take(64) {
                if wanted >> index & 1 == 1 && cell.len() <= MAX_VALUE && cell.contains(char::is_alphabetic) {
                    let lead = cell.len() - cell.trim_start().len();
                    slots.push((at + lead, at + cell.trim_end().len().max(lead)));
                }
                at += cell.len() + 1;
            }
        } else {
            // Text may stand before the head on the same line; its last cells count from its start.
            let mut wanted = 0_u64;
            for (index, cell) in line.split(separator).enumerate().take(64) {
                let last = cell.trim().rsplit(['.', ' ', '!', '?']).next().unwrap_or("");
                if is_name_key(cell.trim()) || index == 0 && is_name_key(last) {
                    wanted |= 1 << index;
                }
            }
            if wanted != 0 && !line.bytes().any(|b| b == b'=') {
                head = Some((separator, wanted));
            }
        }
        start += line.len();
    }
}
