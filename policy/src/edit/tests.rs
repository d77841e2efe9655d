use proptest::prelude::*;

use super::*;

fn splice(range: Range<usize>, text: &str) -> Splice {
    Splice { range, text: text.to_owned() }
}

#[test]
fn nothing_to_do_borrows_the_body() {
    assert!(matches!(apply("body", &[]), Cow::Borrowed("body")));
}

#[test]
fn splices_are_applied_in_the_order_of_their_places() {
    let splices = [splice(4..5, "E"), splice(0..0, "<"), splice(1..3, ""), splice(6..6, ">")];
    assert_eq!(apply("abcdef", &splices), "<adEf>");
}

#[test]
fn insertions_at_one_place_keep_their_order() {
    assert_eq!(apply("{}", &[splice(1..1, "a"), splice(1..1, "b")]), "{ab}");
}

proptest! {
    /// Disjoint splices, given in any order: what is between them stays, byte for byte.
    #[test]
    fn all_bytes_outside_of_splices_stay(
        pieces in prop::collection::vec(("[a-zé😀]{1,6}", prop::option::of("[A-Zü]{0,4}")), 0..12),
        backwards in any::<bool>(),
    ) {
        let (mut body, mut expected, mut splices) = (String::new(), String::new(), Vec::new());
        for (piece, replacement) in pieces {
            if let Some(text) = &replacement {
                splices.push(splice(body.len()..body.len() + piece.len(), text));
            }
            expected.push_str(replacement.as_ref().unwrap_or(&piece));
            body.push_str(&piece);
        }
        if backwards {
            splices.reverse();
        }
        prop_assert_eq!(apply(&body, &splices), expected);
    }
}
