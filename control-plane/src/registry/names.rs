//! What names and other words of callers may look like.

use kt_proto::refusal::{Code, Refusal};

use super::errors::refused;

/// The longest reason, message or description, in bytes.
const MAX_WORDS: usize = 2000;

/// 1 to 63 lower-case letters, digits and `-`, with a letter or digit at both ends.
pub(super) fn fleet(name: &str) -> Result<(), Refusal> {
    let is_good = (1..=63).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !name.starts_with('-')
        && !name.ends_with('-');
    if is_good {
        return Ok(());
    }
    let message = format!(
        "`{}` is no name of a fleet: use 1 to 63 lower-case letters, digits and `-`, not at its ends",
        shown(name)
    );
    Err(refused(Code::ArgumentInvalid, message))
}

/// A text for people: a reason, a message, a description.
pub(super) fn words(what: &str, text: &str) -> Result<(), Refusal> {
    if text.len() > MAX_WORDS {
        let message = format!("the {what} has {} bytes; it may have {MAX_WORDS}", text.len());
        return Err(refused(Code::ArgumentInvalid, message));
    }
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        let message = format!("the {what} holds control characters: write it as plain text");
        return Err(refused(Code::ArgumentInvalid, message));
    }
    Ok(())
}

/// A name for people: of a token, a user, a team.
pub(super) fn is_label(text: &str) -> bool {
    (1..=128).contains(&text.chars().count()) && text.trim() == text && !text.chars().any(char::is_control)
}

/// A request id; one is made for whoever sends none, so that nothing is repeated by accident.
pub(super) fn request_id(text: &str) -> Result<String, Refusal> {
    if text.is_empty() {
        return Ok(uuid::Uuid::now_v7().to_string());
    }
    let id = uuid::Uuid::try_parse(text).map_err(|_| {
        refused(Code::ArgumentInvalid, format!("the request id `{}` is no UUID", shown(text)))
    })?;
    Ok(id.to_string())
}

/// User input as it may stand in a message: one line, cut, without control characters.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 64;
    let mut shown: String = text.chars().take(MOST).flat_map(char::escape_debug).collect();
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_fleets_are_safe_in_keys_and_host_names() {
        for good in ["default", "a", "eu-west-1", &"x".repeat(63)] {
            assert!(fleet(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a/b", "a.b", "a b", "ä", &"x".repeat(64), "a\n"] {
            assert_eq!(fleet(bad).unwrap_err().code, Code::ArgumentInvalid, "{bad}");
        }
    }

    #[test]
    fn a_request_id_is_a_uuid_in_one_form() {
        let id = "0190A6C3-0000-7000-8000-000000000001";
        assert_eq!(request_id(id).unwrap(), id.to_lowercase());
        assert_ne!(request_id("").unwrap(), request_id("").unwrap());
        assert_eq!(request_id("1").unwrap_err().code, Code::ArgumentInvalid);
    }

    #[test]
    fn refusals_show_input_cut_and_on_one_line() {
        let refusal = fleet(&format!("{}\n", "a".repeat(500))).unwrap_err();
        assert!(refusal.message.len() < 250 && !refusal.message.contains('\n'), "{}", refusal.message);
    }
}
