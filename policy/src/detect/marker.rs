//! What stands in the place of a finding.
//!
//! A marker is compiled once for each rule and rendered for each hit. It is never empty: a field that held something
//! still holds something, so that no upstream refuses an empty message for our sake.

use crate::pack::kinds::{MarkerFormat, Redaction};

/// How many asterisks stand for a text whose length is not to be told.
const STARS: usize = 8;

/// The part of a template that the entity's name replaces.
const PLACEHOLDER: &str = "{entity}";

/// The marker of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    form: Form,
    /// Cut or padded to the length of what it replaces, in code points.
    preserve_length: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// Always the same text; not empty.
    Fixed(String),
    /// `********`
    Asterisks,
    /// `j******e`
    Partial,
}

impl Marker {
    /// The marker of findings of `entity` under the pack's settings: its custom marker if it has one, otherwise the
    /// form. A custom marker may hold `{entity}` too. An empty text falls back to the label.
    pub fn new(entity: &str, redaction: &Redaction) -> Self {
        let form = match (redaction.custom_markers.get(entity), &redaction.marker_format) {
            (Some(text), _) | (None, MarkerFormat::Template(text)) if !text.is_empty() => {
                Form::Fixed(text.replace(PLACEHOLDER, entity))
            }
            (None, MarkerFormat::Asterisks) => Form::Asterisks,
            (None, MarkerFormat::Partial) => Form::Partial,
            _ => Form::Fixed(label(entity)),
        };
        Self { form, preserve_length: redaction.preserve_length }
    }

    /// The default marker, `<ENTITY>`.
    pub fn label(entity: &str) -> Self {
        Self { form: Form::Fixed(label(entity)), preserve_length: false }
    }

    /// Appends what stands in the place of `matched` to `out`; at least one character, and exactly as many code
    /// points as `matched` has when the length is preserved (one for an empty `matched`).
    pub fn render(&self, matched: &str, out: &mut String) {
        if !self.preserve_length {
            match &self.form {
                Form::Fixed(text) => out.push_str(text),
                Form::Asterisks => stars(STARS, out),
                Form::Partial => partial(matched, STARS, out),
            }
            return;
        }
        let length = matched.chars().count().max(1);
        match &self.form {
            Form::Fixed(text) => {
                let mut written = 0;
                for c in text.chars().take(length) {
                    out.push(c);
                    written += 1;
                }
                stars(length - written, out);
            }
            Form::Asterisks => stars(length, out),
            Form::Partial => partial(matched, length, out),
        }
    }
}

fn label(entity: &str) -> String {
    format!("<{entity}>")
}

fn stars(count: usize, out: &mut String) {
    out.extend(std::iter::repeat_n('*', count));
}

/// First and last character with asterisks between, `length` code points in all. Of a text below four characters
/// nothing is kept: it would be half the secret.
fn partial(matched: &str, length: usize, out: &mut String) {
    let mut chars = matched.chars();
    match (chars.next(), chars.next_back()) {
        (Some(first), Some(last)) if length >= 4 && chars.nth(1).is_some() => {
            out.push(first);
            stars(length - 2, out);
            out.push(last);
        }
        _ => stars(length, out),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn render(redaction: &Redaction, entity: &str, matched: &str) -> String {
        let mut out = String::new();
        Marker::new(entity, redaction).render(matched, &mut out);
        out
    }

    fn with(marker_format: MarkerFormat, preserve_length: bool) -> Redaction {
        Redaction { marker_format, preserve_length, ..Redaction::default() }
    }

    #[test]
    fn label_is_the_entity_in_angle_brackets() {
        assert_eq!(render(&Redaction::default(), "PERSON", "Ada Lovelace"), "<PERSON>");
        let mut out = "see ".to_owned();
        Marker::label("JWT").render("x", &mut out);
        assert_eq!(out, "see <JWT>");
    }

    #[test]
    fn asterisks_and_partial_hide_the_length() {
        assert_eq!(render(&with(MarkerFormat::Asterisks, false), "PERSON", "Jo"), "********");
        assert_eq!(render(&with(MarkerFormat::Partial, false), "PERSON", "jane@example.org"), "j******g");
        assert_eq!(render(&with(MarkerFormat::Partial, false), "PERSON", "Ødegård Å"), "Ø******Å");
    }

    #[test]
    fn partial_keeps_nothing_of_a_short_text() {
        for short in ["", "a", "ab", "abc"] {
            assert_eq!(render(&with(MarkerFormat::Partial, false), "CVV", short), "********");
        }
        assert_eq!(render(&with(MarkerFormat::Partial, true), "CVV", "123"), "***");
        assert_eq!(render(&with(MarkerFormat::Partial, true), "CVV", "1234"), "1**4");
    }

    #[test]
    fn template_and_custom_marker_name_the_entity() {
        let template = with(MarkerFormat::Template("[{entity} removed]".to_owned()), false);
        assert_eq!(render(&template, "IP_ADDRESS", "10.0.0.1"), "[IP_ADDRESS removed]");
        let mut custom = template.clone();
        custom.custom_markers.insert("PERSON".to_owned(), "someone ({entity})".to_owned());
        assert_eq!(render(&custom, "PERSON", "x"), "someone (PERSON)");
        assert_eq!(render(&custom, "URL", "x"), "[URL removed]");
    }

    #[test]
    fn empty_markers_fall_back_to_the_label() {
        let mut redaction = with(MarkerFormat::Template(String::new()), false);
        assert_eq!(render(&redaction, "URL", "x"), "<URL>");
        redaction.marker_format = MarkerFormat::Asterisks;
        redaction.custom_markers.insert("URL".to_owned(), String::new());
        assert_eq!(render(&redaction, "URL", "x"), "<URL>");
    }

    #[test]
    fn preserved_length_cuts_and_pads() {
        let label = with(MarkerFormat::Label, true);
        assert_eq!(render(&label, "PERSON", "Bo"), "<P");
        assert_eq!(render(&label, "PERSON", "Zoë Kravitz"), "<PERSON>***");
    }

    proptest! {
        #[test]
        fn markers_are_never_empty_and_keep_the_length_on_demand(
            matched in any::<String>(),
            text in any::<String>(),
            form in 0..4_u8,
            preserve in any::<bool>(),
        ) {
            let format = match form {
                0 => MarkerFormat::Label,
                1 => MarkerFormat::Asterisks,
                2 => MarkerFormat::Partial,
                _ => MarkerFormat::Template(text),
            };
            let out = render(&with(format, preserve), "PERSON", &matched);
            prop_assert!(!out.is_empty());
            if preserve {
                prop_assert_eq!(out.chars().count(), matched.chars().count().max(1));
            }
        }
    }
}
